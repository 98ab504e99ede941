#pragma once

// A safetensors header as the safetensors library itself writes it, which nearly all are: one pass
// over its text, a tenth of the work of a JSON parser. FORMAT.md, "safetensors".

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "format/facts.h"
#include "format/plain_tensors.h"

namespace cairn::format::safetensors {

struct PlainHeader {
  PlainTensors tensors;  // sorted by name; spans are offsets in the file, without checksums
  KeyValues metadata;
};

// What decode_header() says of the same bytes. Nothing where the text is spelled in any other way
// (spaces, escapes, other letters than ASCII's, other keys, tensors in another order than their
// bytes), has a dtype without a number, or is wrong: then decode_header() has the answer.
std::optional<PlainHeader> scan_header(std::span<const std::byte> head, std::uint64_t file_bytes);

}  // namespace cairn::format::safetensors
