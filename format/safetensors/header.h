#pragma once

// The safetensors header: 8 bytes of length, then JSON. Strict in both directions. FORMAT.md,
// "safetensors".

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"

namespace cairn::format::safetensors {

// The one name in the header that is no tensor's.
inline constexpr std::string_view kMetadataKey = "__metadata__";

// A file begins with so many bytes, which say how long the JSON behind them is.
inline constexpr std::uint64_t kLengthBytes = 8;

// The bytes that the first 8 bytes of a file announce for the JSON behind them.
// Errors: Corrupt (fewer than 8 bytes, or above limits::kSafetensorsHeaderBytesMax; a `large` one:
// above limits::kSafetensorsLargeHeaderBytesMax).
Decoded<std::uint64_t> header_json_bytes(std::span<const std::byte> first_8_bytes,
                                         bool large = false);

struct HeaderFacts {
  std::vector<TensorFacts>
      tensors;  // sorted by name; spans are offsets in the file, without checksums
  KeyValues metadata;
};

// Decodes the header of a file of `file_bytes`, also a large one; `head` are its first bytes, 8 and
// the JSON. As strict as the safetensors library: offsets contiguous from 0 without holes up to the
// file's end, sizes that agree with shape and dtype, no duplicate names, metadata of strings only.
// Dtypes without counterpart become DType::Opaque with their name. Nothing for `file_bytes`: the
// file may end anywhere, so that a tensor may lie outside. Errors: Corrupt; Unsupported (a dtype of
// unknown size).
Decoded<HeaderFacts> decode_header(std::span<const std::byte> head,
                                   std::optional<std::uint64_t> file_bytes);

// One tensor of a header to be written, in the order of offsets, which start at 0 without holes.
struct HeaderTensor {
  std::string_view name;  // UTF-8, not kMetadataKey
  DType dtype{};
  std::span<const std::int64_t> shape;
  std::uint64_t size_bytes = 0;
  std::string_view opaque_dtype = {};  // the dtype's name where it is DType::Opaque
};

// The head of a safetensors file, padded with spaces so that the payload starts at a multiple of
// `align_bytes`. Empty: the padded JSON would exceed what readers accept, or a dtype has no name in
// safetensors. Names are ordered as given.
std::string encode_header(std::span<const HeaderTensor> tensors, const KeyValues& metadata,
                          std::uint64_t align_bytes);

// A JSON string literal for UTF-8 text, quotes included.
std::string json_string(std::string_view text);

// Whether `text` is valid UTF-8 (names that are not stay out of the header).
bool is_utf8(std::string_view text) noexcept;

}  // namespace cairn::format::safetensors
