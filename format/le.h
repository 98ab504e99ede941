#pragma once

// Little-endian integers at any address. Cairn runs on little-endian machines only, so a load is a
// memcpy that the compiler turns into one instruction; what these functions buy is that no cast is
// ever misaligned or aliased.

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace cairn::format {

static_assert(std::endian::native == std::endian::little, "Cairn needs a little-endian machine");

// The integer at `at`; the caller has checked that sizeof(T) bytes are there.
template <std::integral T>
T load_le(const std::byte* at) noexcept {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <std::integral T>
void store_le(std::byte* at, T value) noexcept {
  std::memcpy(at, &value, sizeof value);
}

// Appends the integer's bytes to a buffer.
template <std::integral T>
void append_le(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

// The same bytes under the other name.
inline std::string_view as_text(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::span<const std::byte> as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace cairn::format
