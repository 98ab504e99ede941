#pragma once

// Puts together the sentences of a DecodeError. libstdc++ 12 has no std::format, and `format` does
// not depend on fmt.

#include <concepts>
#include <string>
#include <type_traits>

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

}  // namespace cairn::format
