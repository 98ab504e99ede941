#pragma once

// What the fuzz targets share. A target gets bytes that nobody has vouched for, hands them to one
// decoder, and demands of what the decoder accepts that it is consistent.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/le.h"

// libFuzzer's: what it calls, and what it offers.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed);

namespace cairn::fuzz {

template <class T>
void demand(const T& holds, const char* promise) {
  if (static_cast<bool>(holds)) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A copy whose end a sanitizer guards, and aligned as a mapping is.
inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = format::as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

// What libFuzzer would make of the text, at most so long.
inline std::string mutated(std::string text, std::size_t max_size) {
  const std::size_t size = text.size();
  text.resize(std::max(size, max_size));
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, max_size));
  return text;
}

// Puts the text where the mutator's caller wants it; 0 where it is too long.
inline std::size_t give(std::string_view text, std::uint8_t* data, std::size_t max_size) {
  if (text.size() > max_size) return 0;
  text.copy(reinterpret_cast<char*>(data), text.size());
  return text.size();
}

}  // namespace cairn::fuzz
