#pragma once

// What the formats know of element types beyond cairn/dtype.h.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "cairn/dtype.h"

namespace cairn::format {

// A dtype that a TensorFlow bundle can hold: all but Invalid, Resource and numbers that TensorFlow
// does not know.
bool storable(DType dtype) noexcept;

// element_bytes() by a dtype's number, 0 where no raw tensor has it: for a loop over all tensors.
extern const std::array<std::uint8_t, 256> kRawBytes;

// TensorFlow's number as a DType; nothing for 0, references (101 …) and unknown ones.
std::optional<DType> dtype_from_number(std::uint64_t number) noexcept;

// The dtype whose elements as<T>() may show for this one: itself; for quantized ones the integer of
// the same width; uint8 for bool, one-byte floats and the sub-byte types.
DType storage_dtype(DType dtype) noexcept;

// Bytes that swap together in a big-endian bundle: 4 for complex64, whose halves are swapped one by
// one; 1: none. Nothing: TensorFlow refuses this dtype in the other byte order (float8, int4 and
// the like, variants).
std::optional<std::uint32_t> swap_bytes(DType dtype) noexcept;

// Bits of an element of the safetensors dtypes that TensorFlow has no counterpart for (F4, F6_E2M3,
// F6_E3M2, F8_E8M0), which are DType::Opaque here; nothing for other names.
std::optional<std::uint16_t> opaque_bits_from_safetensors(std::string_view name) noexcept;

// safetensors' name ("F32", "BF16", …); empty where it has none. What only its newest readers know
// (C64, F8_E4M3FNUZ, F8_E5M2FNUZ) is empty for `for_writing`: one unknown dtype makes an older
// reader refuse the whole file.
std::string_view safetensors_name(DType dtype, bool for_writing) noexcept;

// The dtype of a safetensors name; nothing where TensorFlow has no counterpart (F4, F6_E2M3,
// F6_E3M2, F8_E8M0, unknown).
std::optional<DType> dtype_from_safetensors(std::string_view name) noexcept;

}  // namespace cairn::format
