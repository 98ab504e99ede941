#include "parse_element.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>

#include "narrow_float.h"

namespace cairn::tools {
namespace {

Error no_value(DType dtype, std::string_view text) {
  return {Code::Invalid, 0, fmt::format("'{}' is not a valid {}", text, name(dtype))};
}

Error does_not_fit(DType dtype, std::string_view text) {
  return {Code::Invalid, 0, fmt::format("{} does not fit {}", text, name(dtype))};
}

template <class T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// A number at the start of `text`, which loses it.
template <class T>
Result<T> take_number(DType dtype, std::string_view& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return does_not_fit(dtype, text);
  if (error != std::errc()) return no_value(dtype, text);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

template <class T>
Result<T> parse_number(DType dtype, std::string_view text) {
  std::string_view rest = text;
  auto value = take_number<T>(dtype, rest);
  if (value && !rest.empty()) return no_value(dtype, text);
  return value;
}

template <class T>
Result<std::string> parse_as(DType dtype, std::string_view text) {
  const auto value = parse_number<T>(dtype, text);
  if (!value) return value.error();
  return bytes_of(*value);
}

// 1.0+2.0j; without its imaginary part 1.0.
template <class T>
Result<std::string> parse_complex(DType dtype, std::string_view text) {
  std::string_view rest = text;
  const auto real = take_number<T>(dtype, rest);
  if (!real) return real.error();
  if (rest.empty()) return bytes_of(*real) + bytes_of(T{0});
  if (rest[0] != '+' && rest[0] != '-') return no_value(dtype, text);
  if (rest[0] == '+') rest.remove_prefix(1);
  const auto imaginary = take_number<T>(dtype, rest);
  if (!imaginary) return imaginary.error();
  if (rest != "j") return no_value(dtype, text);
  return bytes_of(*real) + bytes_of(*imaginary);
}

Result<std::string> parse_bool(std::string_view text) {
  if (text == "True" || text == "true" || text == "1") return std::string(1, '\1');
  if (text == "False" || text == "false" || text == "0") return std::string(1, '\0');
  return no_value(DType::Bool, text);
}

// The sub-byte integers lie in the low bits of a byte.
Result<std::string> parse_small_integer(DType dtype, std::string_view text) {
  const bool is_signed = dtype == DType::Int4 || dtype == DType::Int2;
  const int bits = dtype == DType::Int4 || dtype == DType::Uint4 ? 4 : 2;
  const auto value = parse_number<std::int8_t>(dtype, text);
  if (!value) return value.error();
  const int low = is_signed ? -(1 << (bits - 1)) : 0;
  if (*value < low || *value >= low + (1 << bits)) return does_not_fit(dtype, text);
  return std::string(1, static_cast<char>(*value & ((1 << bits) - 1)));
}

// ---- Narrow floats

std::optional<unsigned> infinity_of(const NarrowFloat& type) {
  if (type.specials != NarrowFloat::Specials::Ieee) return std::nullopt;
  return ((1u << type.exponent_bits) - 1) << type.mantissa_bits;
}

std::optional<unsigned> nan_of(const NarrowFloat& type) {
  switch (type.specials) {
    case NarrowFloat::Specials::Ieee:
      return *infinity_of(type) | 1u << (type.mantissa_bits - 1);
    case NarrowFloat::Specials::AllOnes:
      return type.sign() - 1;
    case NarrowFloat::Specials::NegativeZero:
      return type.sign();
    case NarrowFloat::Specials::None:
      break;
  }
  return std::nullopt;
}

// The bits of the finite value nearest to `value`, which is finite and not negative. Their values
// ascend with the bits, and an even mantissa is an even number of bits.
std::optional<unsigned> nearest(const NarrowFloat& type, double value) {
  unsigned low = 0;  // the largest whose value is not above
  unsigned largest = type.sign() - 1;
  while (!std::isfinite(magnitude(type, largest))) --largest;
  for (unsigned high = largest + 1; high - low > 1;) {
    const unsigned middle = low + (high - low) / 2;
    (magnitude(type, middle) <= value ? low : high) = middle;
  }
  const double below = value - magnitude(type, low);
  if (low == largest) {
    const double half_step = (magnitude(type, low) - magnitude(type, low - 1)) / 2;
    return below < half_step ? std::optional(low) : std::nullopt;
  }
  const double above = magnitude(type, low + 1) - value;
  const bool up = above < below || (above == below && low % 2 == 1);
  return up ? low + 1 : low;
}

Result<std::string> parse_narrow(DType dtype, std::string_view text) {
  const auto value = parse_number<double>(dtype, text);
  if (!value) return value.error();
  const NarrowFloat type = narrow_float(dtype);
  const auto found = std::isnan(*value)   ? nan_of(type)
                     : std::isinf(*value) ? infinity_of(type)
                                          : nearest(type, std::fabs(*value));
  if (!found) return does_not_fit(dtype, text);
  unsigned bits = *found;
  const bool only_zero = type.specials == NarrowFloat::Specials::NegativeZero && bits == 0;
  if (std::signbit(*value) && !std::isnan(*value) && !only_zero) bits |= type.sign();
  if (element_bytes(dtype) == 1) return std::string(1, static_cast<char>(bits));
  return bytes_of(static_cast<std::uint16_t>(bits));
}

}  // namespace

Result<std::string> parse_element(DType dtype, std::string_view text) {
  switch (dtype) {
    case DType::Float32:
      return parse_as<float>(dtype, text);
    case DType::Float64:
      return parse_as<double>(dtype, text);
    case DType::Complex64:
      return parse_complex<float>(dtype, text);
    case DType::Complex128:
      return parse_complex<double>(dtype, text);
    case DType::Int8:
    case DType::Qint8:
      return parse_as<std::int8_t>(dtype, text);
    case DType::Uint8:
    case DType::Quint8:
      return parse_as<std::uint8_t>(dtype, text);
    case DType::Int16:
    case DType::Qint16:
      return parse_as<std::int16_t>(dtype, text);
    case DType::Uint16:
    case DType::Quint16:
      return parse_as<std::uint16_t>(dtype, text);
    case DType::Int32:
    case DType::Qint32:
      return parse_as<std::int32_t>(dtype, text);
    case DType::Uint32:
      return parse_as<std::uint32_t>(dtype, text);
    case DType::Int64:
      return parse_as<std::int64_t>(dtype, text);
    case DType::Uint64:
      return parse_as<std::uint64_t>(dtype, text);
    case DType::Bool:
      return parse_bool(text);
    case DType::Int4:
    case DType::Uint4:
    case DType::Int2:
    case DType::Uint2:
      return parse_small_integer(dtype, text);
    default:
      break;
  }
  if (narrow_float(dtype).exponent_bits != 0) return parse_narrow(dtype, text);
  return Error{Code::Invalid, 0,
               fmt::format("a {} cannot be given on the command line", name(dtype))};
}

}  // namespace cairn::tools
