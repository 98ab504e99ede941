// How one element looks.
//
// Floats print in the shortest decimal form that reads back to the same value of their own type:
// 0.1 as a half is "0.1", not 0.0999755859375. For float and double fmt knows how. The narrow types
// (half, bfloat16, the one-byte floats) have few values, so the digits are tried from one upwards
// until the decimal lies nearer to this value than to both neighbours.

#include "element.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "narrow_float.h"

namespace cairn::tools {
namespace {

template <class T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// Python shows that a number is a float: "1.0", never "1".
void append_with_point(std::string& out, const std::string& digits) {
  out += digits;
  if (digits.find_first_of(".en") == std::string::npos) out += ".0";  // 'n': nan, inf
}

void append_narrow(std::string& out, const NarrowFloat& type, unsigned bits) {
  const unsigned sign = type.sign();
  const unsigned rest = bits & (sign - 1);
  if (type.specials == NarrowFloat::Specials::NegativeZero && (bits & (2 * sign - 1)) == sign) {
    out += "nan";
    return;
  }
  const double value = magnitude(type, rest);
  if ((bits & sign) != 0 && !std::isnan(value)) out += '-';
  if (value == 0 || !std::isfinite(value)) {
    append_with_point(out, fmt::format("{}", value));
    return;
  }
  const double below = value - magnitude(type, rest - 1);
  const double above = magnitude(type, rest + 1) - value;
  const double room_below = below / 2;
  const double room_above = std::isfinite(above) && above > 0 ? above / 2 : room_below;
  for (int digits = 1;; ++digits) {
    const std::string text = fmt::format("{:.{}g}", value, digits);
    const double back = std::strtod(text.c_str(), nullptr);
    const bool nearest = back > value - room_below && back < value + room_above;
    if (nearest || digits == 17) {
      append_with_point(out, fmt::format("{}", back));
      return;
    }
  }
}

template <class T>
void append_float(std::string& out, const std::byte* bytes) {
  const T value = load<T>(bytes);
  append_with_point(out, std::isnan(value) ? "nan" : fmt::format("{}", value));
}

template <class T>
void append_complex(std::string& out, const std::byte* bytes) {
  append_float<T>(out, bytes);
  std::string imaginary;
  append_float<T>(imaginary, bytes + sizeof(T));
  if (imaginary[0] != '-') out += '+';
  out += imaginary + 'j';
}

template <class T>
void append_integer(std::string& out, const std::byte* bytes) {
  fmt::format_to(std::back_inserter(out), "{}", +load<T>(bytes));
}

// The sub-byte integers lie in the low bits of a byte.
void append_small_integer(std::string& out, unsigned byte, int bits, bool is_signed) {
  int value = static_cast<int>(byte & ((1u << bits) - 1));
  if (is_signed && value >= 1 << (bits - 1)) value -= 1 << bits;
  out += std::to_string(value);
}

}  // namespace

void append_element(std::string& out, DType dtype, const std::byte* bytes) {
  switch (dtype) {
    case DType::Float32:
      return append_float<float>(out, bytes);
    case DType::Float64:
      return append_float<double>(out, bytes);
    case DType::Complex64:
      return append_complex<float>(out, bytes);
    case DType::Complex128:
      return append_complex<double>(out, bytes);
    case DType::Int8:
    case DType::Qint8:
      return append_integer<std::int8_t>(out, bytes);
    case DType::Uint8:
    case DType::Quint8:
      return append_integer<std::uint8_t>(out, bytes);
    case DType::Int16:
    case DType::Qint16:
      return append_integer<std::int16_t>(out, bytes);
    case DType::Uint16:
    case DType::Quint16:
      return append_integer<std::uint16_t>(out, bytes);
    case DType::Int32:
    case DType::Qint32:
      return append_integer<std::int32_t>(out, bytes);
    case DType::Uint32:
      return append_integer<std::uint32_t>(out, bytes);
    case DType::Int64:
      return append_integer<std::int64_t>(out, bytes);
    case DType::Uint64:
      return append_integer<std::uint64_t>(out, bytes);
    case DType::Bool:
      out += load<std::uint8_t>(bytes) == 0 ? "False" : "True";
      return;
    case DType::Int4:
      return append_small_integer(out, load<std::uint8_t>(bytes), 4, true);
    case DType::Uint4:
      return append_small_integer(out, load<std::uint8_t>(bytes), 4, false);
    case DType::Int2:
      return append_small_integer(out, load<std::uint8_t>(bytes), 2, true);
    case DType::Uint2:
      return append_small_integer(out, load<std::uint8_t>(bytes), 2, false);
    default:
      break;
  }
  const bool wide = element_bytes(dtype) == 2;
  append_narrow(out, narrow_float(dtype),
                wide ? load<std::uint16_t>(bytes) : load<std::uint8_t>(bytes));
}

void append_bytes_literal(std::string& out, std::string_view value) {
  const bool double_quotes =
      value.find('\'') != std::string_view::npos && value.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  out += 'b';
  out += quote;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (byte < 0x20 || byte >= 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += quote;
}

}  // namespace cairn::tools
