#include "format/pickle/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

namespace cairn::format::pickle {
namespace {

int digit_of(char character) noexcept {
  if (character >= '0' && character <= '9') return character - '0';
  if (character >= 'a' && character <= 'f') return character - 'a' + 10;
  if (character >= 'A' && character <= 'F') return character - 'A' + 10;
  return 16;
}

// A number of exactly so many digits at the start of the text.
std::optional<std::uint32_t> digits_of(std::string_view text, std::size_t count, int base) {
  if (text.size() < count) return std::nullopt;
  std::uint32_t value = 0;
  for (const char character : text.substr(0, count)) {
    const int digit = digit_of(character);
    if (digit >= base) return std::nullopt;
    value = value * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit);
  }
  return value;
}

void append_utf8(std::string& text, std::uint32_t code) {
  const auto tail = [&](unsigned shift) {
    text += static_cast<char>(0x80 | ((code >> shift) & 0x3f));
  };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0 | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0 | (code >> 12));
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xf0 | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

// The escape behind a backslash, which it takes off `rest`.
bool read_escape(std::string_view& rest, std::string& text) {
  constexpr std::string_view kLetters = "\\'\"abfnrtv";
  constexpr std::string_view kMeant = "\\'\"\a\b\f\n\r\t\v";
  if (rest.empty()) return false;
  const char letter = rest.front();
  if (const std::size_t at = kLetters.find(letter); at != std::string_view::npos) {
    text += kMeant[at];
    rest.remove_prefix(1);
    return true;
  }
  if (letter == 'x') {
    const auto value = digits_of(rest.substr(1), 2, 16);
    if (!value) return false;
    text += static_cast<char>(*value);
    rest.remove_prefix(3);
    return true;
  }
  std::size_t count = 0;
  while (count < 3 && count < rest.size() && digit_of(rest[count]) < 8) ++count;
  if (count == 0) {  // no escape: Python keeps both
    text += '\\';
    return true;
  }
  text += static_cast<char>(*digits_of(rest, count, 8) & 0xff);
  rest.remove_prefix(count);
  return true;
}

}  // namespace

bool is_decimal(std::string_view text) noexcept {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool read_float(std::string_view text, double& value) noexcept {
  const bool negative = text.starts_with('-');
  const std::string_view word = negative ? text.substr(1) : text;
  if (word == "inf" || word == "nan") {
    value = word == "inf" ? std::numeric_limits<double>::infinity()
                          : std::numeric_limits<double>::quiet_NaN();
    if (negative) value = -value;
    return true;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool read_string_literal(std::string_view literal, std::string& text) {
  if (literal.size() < 2 || literal.front() != literal.back()) return false;
  if (literal.front() != '\'' && literal.front() != '"') return false;
  std::string_view rest = literal.substr(1, literal.size() - 2);
  while (!rest.empty()) {
    const std::size_t plain = std::min(rest.find('\\'), rest.size());
    text += rest.substr(0, plain);
    rest.remove_prefix(plain);
    if (rest.empty()) return true;
    rest.remove_prefix(1);
    if (!read_escape(rest, text)) return false;
  }
  return true;
}

bool read_raw_unicode(std::string_view line, std::string& text) {
  while (!line.empty()) {
    const char first = line.front();
    const std::size_t count = line.starts_with("\\u") ? 4 : line.starts_with("\\U") ? 8 : 0;
    if (count == 0) {
      append_utf8(text, static_cast<unsigned char>(first));
      line.remove_prefix(1);
      continue;
    }
    const auto code = digits_of(line.substr(2), count, 16);
    if (!code || *code > 0x10ffff) return false;
    append_utf8(text, *code);
    line.remove_prefix(2 + count);
  }
  return true;
}

std::optional<std::string> decimal_of(std::string_view bytes) {
  constexpr std::size_t kBytesMax = 128;
  if (bytes.size() > kBytesMax) return std::nullopt;
  const bool negative = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80) != 0;
  // The magnitude in words: of a negative number every bit the other way, and one more.
  std::vector<std::uint32_t> words((bytes.size() + 3) / 4, 0);
  std::uint32_t carry = negative ? 1 : 0;
  for (std::size_t i = 0; i < 4 * words.size(); ++i) {
    const auto there = i < bytes.size() ? static_cast<unsigned char>(bytes[i])
                                        : static_cast<unsigned char>(negative ? 0xff : 0);
    const std::uint32_t sum = (negative ? there ^ 0xffu : there) + carry;
    words[i / 4] |= (sum & 0xff) << (8 * (i % 4));
    carry = sum >> 8;
  }
  constexpr std::uint32_t kNineDigits = 1'000'000'000;
  std::string digits;  // the last one first
  while (!words.empty()) {
    std::uint64_t rest = 0;
    for (std::size_t i = words.size(); i-- > 0;) {
      const std::uint64_t value = rest << 32 | words[i];
      words[i] = static_cast<std::uint32_t>(value / kNineDigits);
      rest = value % kNineDigits;
    }
    while (!words.empty() && words.back() == 0) words.pop_back();
    for (int i = 0; i < 9; ++i, rest /= 10) digits += static_cast<char>('0' + rest % 10);
  }
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.empty()) digits += '0';
  if (negative) digits += '-';
  std::ranges::reverse(digits);
  return digits;
}

// U+0080 to U+00FF are two bytes, of which the first is 0xC2 or 0xC3.
std::optional<std::uint64_t> latin1_bytes(std::string_view utf8) noexcept {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < utf8.size(); ++i, ++count) {
    const auto first = static_cast<unsigned char>(utf8[i]);
    if (first < 0x80) continue;
    if ((first & 0xfe) != 0xc2 || ++i == utf8.size()) return std::nullopt;
    if ((static_cast<unsigned char>(utf8[i]) & 0xc0) != 0x80) return std::nullopt;
  }
  return count;
}

void take_latin1(std::string_view& utf8, std::span<std::byte> out) noexcept {
  std::size_t at = 0;
  for (std::byte& byte : out) {
    const auto first = static_cast<unsigned char>(utf8[at++]);
    if (first < 0x80) {
      byte = std::byte{first};
    } else {
      const auto second = static_cast<unsigned char>(utf8[at++]);
      byte = static_cast<std::byte>((first & 3) << 6 | (second & 63));
    }
  }
  utf8.remove_prefix(at);
}

std::string float_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  std::array<char, 32> room;
  const auto [end, error] = std::to_chars(room.data(), room.data() + room.size(), value);
  std::string text(room.data(), end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace cairn::format::pickle
