#include "format/quoted.h"

#include <simdjson.h>

#include <algorithm>
#include <cstddef>

namespace cairn::format {

namespace {

constexpr std::size_t kShownBytesMax = 120;

// The start of `text` that is shown: whole characters, where it is UTF-8.
std::string_view shown_part(std::string_view text) {
  if (text.size() <= kShownBytesMax) return text;
  std::size_t end = kShownBytesMax;
  while (end > kShownBytesMax - 4 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

// simdjson makes its statics at its first call, and whatever was made before them outlives them: a
// static Saver that still writes the catalog when the program ends. So the first call comes before
// any static object of the program.
[[gnu::constructor(101)]] void make_statics_of_simdjson() {
  [[maybe_unused]] const bool valid = simdjson::validate_utf8("", 0);
}

}  // namespace

void append_hex(std::string& out, std::uint8_t byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

std::string quoted(std::string_view text) {
  const std::string_view shown = shown_part(text);
  const bool utf8 = simdjson::validate_utf8(shown.data(), shown.size());
  const auto is_plain = [&](char character) {
    const auto byte = static_cast<unsigned char>(character);
    return byte >= 0x20 && byte != 0x7f && byte != '"' && (byte < 0x80 || utf8);
  };
  std::string out = "\"";
  for (auto at = shown.begin(); at != shown.end();) {
    const auto end = std::find_if_not(at, shown.end(), is_plain);
    out.append(at, end);
    at = end;
    if (at == shown.end()) break;
    out += "\\x";
    append_hex(out, static_cast<unsigned char>(*at++));
  }
  out += '"';
  if (shown.size() < text.size()) {
    out += " (and " + std::to_string(text.size() - shown.size()) + " bytes more)";
  }
  return out;
}

std::string one_line(std::string_view text) {
  std::string line;
  for (const char character : text) {
    if (character == '\n') {
      line += "\\n";
    } else {
      line.append(character == '\\' ? 2 : 1, character);
    }
  }
  return line;
}

std::string from_one_line(std::string_view line) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const bool escape = line[i] == '\\' && i + 1 < line.size();
    if (escape) ++i;
    text += escape && line[i] == 'n' ? '\n' : line[i];
  }
  return text;
}

}  // namespace cairn::format
