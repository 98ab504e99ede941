#pragma once

// Varints: seven bits per byte, the lowest first, the top bit says that more follow. Tables, stored
// strings and protobuf all write their numbers so.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::format::tensorflow {

// The varint at the front of `rest`, which then starts behind it. Nothing where it is cut off or
// does not fit into 64 bits. Longer spellings of the same number are accepted, as everywhere.
inline std::optional<std::uint64_t> take_varint(std::string_view& rest) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < rest.size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>(rest[i]);
    if (i == 9 && byte > 1) return std::nullopt;
    value |= std::uint64_t{byte & 0x7fu} << (7 * i);
    if (byte < 0x80) {
      rest.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

inline void append_varint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

}  // namespace cairn::format::tensorflow
