#include "format/json_text.h"

#include "format/safetensors/header.h"

namespace cairn::format {

std::string json_text(std::string_view text) {
  if (safetensors::is_utf8(text)) return safetensors::json_string(text);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string literal = "\"";
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte < 0x80) {
      const std::string quoted = safetensors::json_string({&each, 1});
      literal += std::string_view(quoted).substr(1, quoted.size() - 2);
    } else {
      literal += "\\udc";
      literal += kDigits[byte >> 4];
      literal += kDigits[byte & 15];
    }
  }
  return literal + '"';
}

}  // namespace cairn::format
