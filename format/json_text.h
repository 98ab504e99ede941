#pragma once

// Values of foreign metadata as text, as JSON has them.

#include <array>
#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

namespace cairn::format {

// The shortest form that reads back.
template <class T>
std::string number_text(T value) {
  std::array<char, 32> room;
  const auto [end, error] = std::to_chars(room.data(), room.data() + room.size(), value);
  return std::string(room.data(), end);
}

// Always recognisable as no integer. JSON has no NaN and Infinity: they are written so, as Python's
// json reads them.
template <std::floating_point T>
std::string float_text(T value) {
  if (value != value) return "NaN";
  std::string text = number_text(value);
  if (text == "inf") return "Infinity";
  if (text == "-inf") return "-Infinity";
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// A string in quotes. Bytes that are no UTF-8 are \udc80 to \udcff, which Python's
// "surrogateescape" makes bytes again.
std::string json_text(std::string_view text);

}  // namespace cairn::format
