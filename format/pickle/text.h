#pragma once

// Numbers and texts of a pickle that are written as Python writes them. And back: as a reader of
// metadata wants to see them.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cairn::format::pickle {

// Whether it is an integer of any size: a sign perhaps, and digits.
bool is_decimal(std::string_view text) noexcept;

// As Python's repr() writes it: "1.5", "1e+300", "inf", "nan".
bool read_float(std::string_view text, double& value) noexcept;

// A literal in quotes, with the escapes of Python's bytes.
bool read_string_literal(std::string_view literal, std::string& text);

// Latin-1 with \uXXXX and \UXXXXXXXX, into UTF-8. What is half of a surrogate pair becomes the
// three bytes that Python's "surrogatepass" makes of it.
bool read_raw_unicode(std::string_view line, std::string& text);

// Of bytes that a pickle has as text, each as the character of its number: how many they are;
// nothing: another character is among them.
std::optional<std::uint64_t> latin1_bytes(std::string_view utf8) noexcept;

// Takes as many of them from the text as `out` has; they are there.
void take_latin1(std::string_view& utf8, std::span<std::byte> out) noexcept;

// The decimal digits of a number in little-endian two's complement; nothing: of more than 1,024
// bits, for which they would take too long.
std::optional<std::string> decimal_of(std::string_view bytes);

// The shortest text that reads back as the number, recognisable as no integer: "3.0", "NaN".
std::string float_text(double value);

}  // namespace cairn::format::pickle
