#pragma once

// A fast decoder of the safetensors headers that the safetensors library itself writes. Nearly all
// headers are such. It makes one pass over the text, a tenth of the work of a JSON parser. For all
// other headers there is decode_header(). FORMAT.md, "safetensors".

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

// Decodes the header of a file of `file_bytes`. Its JSON has `json_bytes`, the result of
// header_json_bytes(), and the caller has checked that it lies inside the file. The result is what
// decode_header() returns for the same file. std::nullopt: call decode_header(), because the text
// - is not as the library writes it: whitespace between tokens, escapes, bytes beyond ASCII, other
//   keys or another order of keys, tensors that are not in the order of their offsets,
// - has a dtype without a number (FORMAT.md, "Dtypes"), or an entry of more than 64 KiB,
// - is wrong, or cannot be read.
// Memory: that of the columns, and 256 KiB.
std::optional<PlainHeader> scan_header(const ReadAt& read, std::uint64_t json_bytes,
                                       std::uint64_t file_bytes);

}  // namespace cairn::format::safetensors
