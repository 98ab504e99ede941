#pragma once

// Element types and shapes.

#include <optional>
#include <string>

#include "cairn/dtype.h"
#include "format/hdf5/object.h"

namespace cairn::format::hdf5 {

struct Datatype {
  enum class Kind : std::uint8_t {
    Number,        // `dtype`, which may be opaque
    Text,          // of size_bytes, padded
    VariableText,  // in a heap: size_bytes tell where
    Other,         // `why` says what
  };
  Kind kind = Kind::Other;
  std::uint32_t size_bytes = 0;  // of an element, with all of its inner dimensions
  DType dtype = DType::Invalid;
  std::string opaque_dtype;  // its name where it is DType::Opaque
  bool other_byte_order = false;
  bool pads_with_spaces = false;    // a text
  std::vector<std::int64_t> inner;  // dimensions of an array that is one element
  std::string why;

  // Of one of the numbers that an element has.
  std::uint64_t item_bytes() const noexcept;
};

// Errors: Corrupt. What is well-formed and no tensor is Kind::Other.
Decoded<Datatype> decode_datatype(Cursor cursor);

// The dtype that an attribute "dtype" names for what HDF5 has no type for, as Keras writes it.
void name_dtype(Datatype& type, std::string_view dtype);

struct Dataspace {
  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
  bool has_no_shape = false;  // "null": there are no elements at all
  std::vector<std::uint64_t> dimensions;
  std::vector<std::uint64_t> dimensions_max;
};

Decoded<Dataspace> decode_dataspace(Cursor cursor);

}  // namespace cairn::format::hdf5
