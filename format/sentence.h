#pragma once

// Puts together the sentences of a Reason. libstdc++ 12 has no std::format, and `format` does not
// depend on fmt.

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace cairn::format {

// Text and integers, one after another.
template <class... Parts>
std::string sentence(const Parts&... parts) {
  std::string text;
  const auto append = [&text](const auto& part) {
    if constexpr (std::integral<std::remove_cvref_t<decltype(part)>>) {
      text += std::to_string(part);
    } else {
      text += part;
    }
  };
  (append(parts), ...);
  return text;
}

// A name from a file, fit to be printed: in quotes, what is not printable ASCII as \xNN, cut after
// 200 bytes. Not called quoted: for a std::string the compiler would find std::quoted too.
inline std::string quote(std::string_view name) {
  constexpr std::size_t kShownMax = 200;
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "\"";
  for (const char character : name.substr(0, kShownMax)) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
      text += character;
    } else {
      text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 0xf]};
    }
  }
  if (name.size() > kShownMax) text += "...";
  text += '"';
  return text;
}

}  // namespace cairn::format
