#pragma once

// An .npy file: one array, as numpy.save writes it, versions 1.0 to 3.0. FORMAT.md, "npy".

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/plain_facts.h"

namespace cairn::format::numpy {

inline constexpr std::size_t kPreambleBytes = 12;  // magic, version, length of the header

// Where the elements begin, by the file's first kPreambleBytes. Errors: Corrupt (no .npy file, or
// it ends before); Unsupported (another version, or a header of more than 64 KiB: numpy itself
// believes 10,000 bytes).
Decoded<std::uint64_t> data_offset_bytes(std::span<const std::byte> preamble);

// An array as nearly all are: row-major, little-endian, of a dtype that has a number, and written
// by numpy itself. Its elements reach to the end of its file.
struct PlainArray {
  DType dtype{};
  ShortShape shape;
  std::uint64_t data_offset_bytes = 0;
};

// The array of a file of `file_bytes` that begins so. std::nullopt: it is not plain, or its header
// is longer than `begin`; then decode_array() says what it is. Allocates nothing.
std::optional<PlainArray> scan_array(std::span<const std::byte> begin, std::uint64_t file_bytes);

// The one tensor of a file of `file_bytes`, which begins with `head`: all that is in front of the
// elements. It has no name, and lies in shard 0. Column-major ("Fortran order") is told by its
// strides, another byte order by other_byte_order. Elements without a type ('V1', 'V2', …) are
// what numpy saves most dtypes of ml_dtypes as: they are of `void_dtype`, where they have its size;
// else 'V2' is bfloat16. '<f1' is float8_e5m2. What has no dtype here is opaque, under numpy's own
// name without the byte order: "V1", "S5", "M8[ns]". Errors: Corrupt (a malformed header, or
// another size than it says); Unsupported (objects, structures, a dtype of 4 GiB or more, or of
// more than 8,191 bytes in Fortran order, or big-endian and opaque).
Decoded<TensorFacts> decode_array(std::span<const std::byte> head, std::uint64_t file_bytes,
                                  std::optional<DType> void_dtype = std::nullopt);

// What numpy calls the elements of a tensor: "<f4". Where numpy has no name for the dtype
// (bfloat16, float8 and the like), void of the same width: "|V2"; for quantized ones the integers.
// An opaque dtype is one of numpy's own that decode_array() named. Empty: no element of numpy's is
// as wide.
struct ElementType {
  DType dtype{};
  std::string_view opaque_name;
  unsigned opaque_bits = 0;
};
std::string descr_of(const ElementType& type);

// Whether decode_array() gives back the dtype by this description.
bool is_told_by_descr(const ElementType& type, std::string_view descr);

// The head of a row-major file, a multiple of 64 bytes: version 1.0, or 2.0 where it is longer than
// 64 KiB.
std::string encode_head(std::string_view descr, std::span<const std::int64_t> shape);

}  // namespace cairn::format::numpy
