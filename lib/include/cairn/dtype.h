#pragma once

// Element types. The numbers are those of TensorFlow's DataType
// (tensorflow/core/framework/types.proto), so that an entry of a bundle needs no translation. The
// names are TensorFlow's Python names.

#include <bit>
#include <complex>
#include <cstdint>
#include <optional>
#include <string_view>

#include "cairn/export.h"

namespace cairn {

enum class DType : std::uint16_t {
  Invalid = 0,
  Float32 = 1,
  Float64 = 2,
  Int32 = 3,
  Uint8 = 4,
  Int16 = 5,
  Int8 = 6,
  String = 7,
  Complex64 = 8,
  Int64 = 9,
  Bool = 10,
  Qint8 = 11,
  Quint8 = 12,
  Qint32 = 13,
  Bfloat16 = 14,
  Qint16 = 15,
  Quint16 = 16,
  Uint16 = 17,
  Complex128 = 18,
  Float16 = 19,
  Resource = 20,  // a handle inside a running TensorFlow; cannot be stored
  Variant = 21,   // opaque; copied byte for byte
  Uint32 = 22,
  Uint64 = 23,
  Float8E5M2 = 24,
  Float8E4M3FN = 25,
  Float8E4M3FNUZ = 26,
  Float8E4M3B11FNUZ = 27,
  Float8E5M2FNUZ = 28,
  Int4 = 29,  // TensorFlow stores the sub-byte types one element per byte, in the low bits
  Uint4 = 30,
  Int2 = 31,
  Uint2 = 32,
  Float4E2M1FN = 33,
  Opaque = 256,  // known by its name only, such as safetensors' F8_E8M0
};

// TensorFlow's Python name: "float32", "bfloat16", "string", …; "invalid" for any other number.
CAIRN_API std::string_view name(DType dtype) noexcept;

// The dtype of that name; std::nullopt if there is none.
CAIRN_API std::optional<DType> dtype_from_name(std::string_view name) noexcept;

// Stored bytes per element. 0 if the elements differ in size (String, Variant), or if the dtype
// cannot be stored.
CAIRN_API std::uint32_t element_bytes(DType dtype) noexcept;

// 16-bit floats as bits: IEEE 754's binary16, and the upper half of a float.
struct Half {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// The same value; every one has a float. A NaN keeps its sign and its payload.
constexpr float to_float(BFloat16 value) noexcept {
  return std::bit_cast<float>(std::uint32_t{value.bits} << 16);
}
constexpr float to_float(Half value) noexcept {
  const std::uint32_t sign = std::uint32_t{value.bits & 0x8000u} << 16;
  const std::uint32_t magnitude = value.bits & 0x7fffu;
  if (magnitude >= 0x7c00)  // infinite, or no number
    return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x0400)  // the exponent's bias is 15 there, and 127 here
    return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
  const float tiny = static_cast<float>(magnitude) * 0x1p-24f;
  return sign == 0 ? tiny : -tiny;
}

// The dtype of a C++ type in Tensor::as<T>() and values<T>(). Specialise it for your own types, for
// example Eigen::bfloat16. These have no C++ type of their own:
// - bool: read it as std::uint8_t, because stored bytes other than 0 and 1 occur;
// - quantized types: read them as the integer of the same width;
// - one-byte floats and types of less than one byte: read them as std::uint8_t.
template <class T>
inline constexpr DType dtype_of = DType::Invalid;
template <>
inline constexpr DType dtype_of<float> = DType::Float32;
template <>
inline constexpr DType dtype_of<double> = DType::Float64;
template <>
inline constexpr DType dtype_of<std::int8_t> = DType::Int8;
template <>
inline constexpr DType dtype_of<std::int16_t> = DType::Int16;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::Int32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::Int64;
template <>
inline constexpr DType dtype_of<std::uint8_t> = DType::Uint8;
template <>
inline constexpr DType dtype_of<std::uint16_t> = DType::Uint16;
template <>
inline constexpr DType dtype_of<std::uint32_t> = DType::Uint32;
template <>
inline constexpr DType dtype_of<std::uint64_t> = DType::Uint64;
template <>
inline constexpr DType dtype_of<std::complex<float>> = DType::Complex64;
template <>
inline constexpr DType dtype_of<std::complex<double>> = DType::Complex128;
template <>
inline constexpr DType dtype_of<Half> = DType::Float16;
template <>
inline constexpr DType dtype_of<BFloat16> = DType::Bfloat16;

}  // namespace cairn
