#pragma once

// A safetensors header as the safetensors library itself writes it, which nearly all are: one pass
// over its text, a tenth of the work of a JSON parser. FORMAT.md, "safetensors".

#include <cstdint>
#include <optional>

#include "format/facts.h"
#include "format/plain_tensors.h"
#include "format/read_at.h"

namespace cairn::format::safetensors {

struct PlainHeader {
  PlainTensors tensors;  // sorted by name; spans are offsets in the file, without checksums
  KeyValues metadata;
};

// What decode_header() says of the same file, whose text, of `json_bytes` as header_json_bytes()
// says, lies inside of its `file_bytes`. Nothing where the text is spelled in any other way
// (spaces, escapes, other letters than ASCII's, other keys, tensors in another order than their
// bytes), has a dtype without a number or an entry of more than 64 KiB, is wrong, or cannot be
// read: then decode_header() has the answer. Memory: that of the columns, and 256 KiB.
std::optional<PlainHeader> scan_header(const ReadAt& read, std::uint64_t json_bytes,
                                       std::uint64_t file_bytes);

}  // namespace cairn::format::safetensors
