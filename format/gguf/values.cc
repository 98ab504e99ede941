#include "format/gguf/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "format/sentence.h"

namespace cairn::format::gguf {
namespace {

// ---- Text ---------------------------------------------------------------------------------------

template <class T>
std::string number_text(T value) {
  std::array<char, 32> room;
  const auto [end, error] = std::to_chars(room.data(), room.data() + room.size(), value);
  return std::string(room.data(), end);
}

// Always recognisable as no integer.
template <class T>
std::string float_text(T value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  std::string text = number_text(value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string json_text(std::string_view text) {
  if (safetensors::is_utf8(text)) return safetensors::json_string(text);
  std::string literal = "\"";
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte < 0x80) {
      const std::string quoted = safetensors::json_string({&each, 1});
      literal += std::string_view(quoted).substr(1, quoted.size() - 2);
    } else {
      literal += "\\udc";
      append_hex(literal, byte);
    }
  }
  return literal + '"';
}

// ---- Values -------------------------------------------------------------------------------------

// Bytes that a value of this type takes at least; 0: no such type.
std::uint64_t bytes_min(ValueType type) noexcept {
  constexpr std::array<std::uint8_t, 13> kBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
  const auto number = static_cast<std::size_t>(type);
  return number < kBytes.size() ? kBytes[number] : 0;
}

template <class T>
bool take_as(Cursor& cursor, T& value) {
  return cursor.take_bytes(std::as_writable_bytes(std::span(&value, 1)));
}

template <class T>
bool take_integer(Cursor& cursor, Value& value) {
  T number{};
  if (!take_as(cursor, number)) return false;
  value.text = number_text(number);
  value.number = fits<std::uint64_t>(number);
  return true;
}

template <class T>
bool take_float(Cursor& cursor, Value& value) {
  T number{};
  if (!take_as(cursor, number)) return false;
  value.text = float_text(number);
  return true;
}

bool take_bool(Cursor& cursor, Value& value) {
  std::uint8_t byte = 0;
  if (!take_as(cursor, byte)) return false;
  if (byte > 1) return cursor.refuse(sentence("a truth value of ", unsigned{byte}));
  value.text = byte == 1 ? "true" : "false";
  return true;
}

// Anything but an array. `in_array`: a string as JSON has it.
bool take_single(Cursor& cursor, bool in_array, Value& value) {
  std::string_view text;
  switch (value.type) {
    case ValueType::Uint8:
      return take_integer<std::uint8_t>(cursor, value);
    case ValueType::Int8:
      return take_integer<std::int8_t>(cursor, value);
    case ValueType::Uint16:
      return take_integer<std::uint16_t>(cursor, value);
    case ValueType::Int16:
      return take_integer<std::int16_t>(cursor, value);
    case ValueType::Uint32:
      return take_integer<std::uint32_t>(cursor, value);
    case ValueType::Int32:
      return take_integer<std::int32_t>(cursor, value);
    case ValueType::Uint64:
      return take_integer<std::uint64_t>(cursor, value);
    case ValueType::Int64:
      return take_integer<std::int64_t>(cursor, value);
    case ValueType::Float32:
      return take_float<float>(cursor, value);
    case ValueType::Float64:
      return take_float<double>(cursor, value);
    case ValueType::Bool:
      return take_bool(cursor, value);
    case ValueType::String:
      if (!cursor.take_text(text)) return false;
      value.text = in_array ? json_text(text) : std::string(text);
      return true;
    case ValueType::Array:
      break;
  }
  return cursor.refuse(sentence("a value of type ", static_cast<std::uint32_t>(value.type),
                                ", and 0 to 12 are known"));
}

// An array that is being read.
struct Level {
  ValueType type{};
  std::uint64_t left = 0;
};

// Takes an array, nested or not, without recursion.
class ArrayReader {
 public:
  ArrayReader(Cursor& cursor, std::uint64_t text_bytes_max, Value& value)
      : cursor_(cursor), text_bytes_max_(text_bytes_max), value_(value) {}

  bool read() {
    if (!begin()) return false;
    while (!levels_.empty()) {
      if (!step()) return false;
    }
    return true;
  }

 private:
  void append(std::string_view text) {
    value_.too_long |= text.size() > text_bytes_max_ - value_.text.size();
    if (!value_.too_long) value_.text += text;
  }
  void separate() {
    if (!value_.text.empty() && value_.text.back() != '[') append(",");
  }

  bool begin() {
    if (levels_.size() == limits::kGgufArrayDepthMax) {
      return cursor_.refuse(unsupported(
          cursor_.at(),
          sentence("arrays in arrays, deeper than the limit of ", limits::kGgufArrayDepthMax)));
    }
    std::uint32_t number = 0;
    Level level;
    if (!cursor_.take(number) || !cursor_.take(level.left)) return false;
    level.type = static_cast<ValueType>(number);
    const std::uint64_t element_bytes_min = bytes_min(level.type);
    if (element_bytes_min == 0)
      return cursor_.refuse(sentence("an array of type ", number, ", and 0 to 12 are known"));
    if (!cursor_.fits(level.left, element_bytes_min)) return false;
    separate();
    append("[");
    levels_.push_back(level);
    return true;
  }

  bool step() {
    Level& level = levels_.back();
    if (level.left == 0) {
      levels_.pop_back();
      append("]");
      return true;
    }
    --level.left;
    if (level.type == ValueType::Array) return begin();
    Value element{.type = level.type};
    if (!take_single(cursor_, true, element)) return false;
    separate();
    append(element.text);
    return true;
  }

  Cursor& cursor_;
  const std::uint64_t text_bytes_max_;
  Value& value_;
  std::vector<Level> levels_;
};

}  // namespace

// ---- Cursor -------------------------------------------------------------------------------------

bool Cursor::refuse(DecodeError error) {
  error_ = std::move(error);
  return false;
}

bool Cursor::refuse(std::string what) { return refuse(corrupt(at_, std::move(what))); }

bool Cursor::need(std::uint64_t bytes) {
  if (bytes > left_bytes()) return refuse("the file ends in its header");
  if (bytes > limits::kGgufHeaderBytesMax - at_) {
    return refuse(unsupported(at_, sentence("the header is longer than the limit of ",
                                            limits::kGgufHeaderBytesMax, " bytes")));
  }
  return bytes <= head_.size() - at_;
}

bool Cursor::take_bytes(std::span<std::byte> value) {
  if (!need(value.size())) return false;
  std::memcpy(value.data(), head_.data() + at_, value.size());
  if (swaps_) std::ranges::reverse(value);
  at_ += value.size();
  return true;
}

bool Cursor::take_text(std::string_view& text) {
  std::uint64_t size = 0;
  if (!take(size) || !need(size)) return false;
  text = as_text(head_.subspan(at_, size));
  at_ += size;
  return true;
}

bool Cursor::fits(std::uint64_t count, std::uint64_t bytes_min) {
  return count <= left_bytes() / bytes_min ||
         refuse(sentence("the file ends in its header, which has ", count, " more of something"));
}

bool take_value(Cursor& cursor, std::uint64_t text_bytes_max, Value& value) {
  std::uint32_t number = 0;
  if (!cursor.take(number)) return false;
  value.type = static_cast<ValueType>(number);
  if (value.type == ValueType::Array) return ArrayReader(cursor, text_bytes_max, value).read();
  if (!take_single(cursor, false, value)) return false;
  value.too_long = value.text.size() > text_bytes_max;
  return true;
}

}  // namespace cairn::format::gguf
