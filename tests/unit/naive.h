#pragma once

// Slices taken element by element: what the library's runs of bytes must agree with.

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "cairn/tensor.h"

namespace cairn::test {

inline std::vector<std::int64_t> random_shape(std::mt19937_64& random) {
  std::vector<std::int64_t> shape(random() % 5);
  for (std::int64_t& dimension : shape) dimension = static_cast<std::int64_t>(random() % 5);
  return shape;
}

inline std::vector<Range> random_slice(std::mt19937_64& random,
                                       std::span<const std::int64_t> shape) {
  std::vector<Range> slice;
  for (const std::int64_t dimension : shape) {
    const auto start =
        static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(dimension + 1));
    const auto left = static_cast<std::uint64_t>(dimension - start);
    const bool open = random() % 4 == 0;
    slice.push_back({start, open ? -1 : static_cast<std::int64_t>(random() % (left + 1))});
  }
  return slice;
}

// Whether the element at this row-major position lies in the slice; empty: in the whole.
inline bool lies_in(std::size_t position, std::span<const std::int64_t> shape, Slice slice) {
  for (std::size_t d = slice.size(); d > 0; --d) {
    const auto size = static_cast<std::size_t>(shape[d - 1]);
    const auto at = static_cast<std::int64_t>(position % size);
    position /= size;
    const Range range = slice[d - 1];
    if (at < range.start || (range.count != -1 && at - range.start >= range.count)) return false;
  }
  return true;
}

inline std::vector<std::byte> naive_slice(std::span<const std::byte> bytes,
                                          std::span<const std::int64_t> shape,
                                          std::size_t element_bytes, Slice slice) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i * element_bytes < bytes.size(); ++i) {
    if (!lies_in(i, shape, slice)) continue;
    for (const std::byte byte : bytes.subspan(i * element_bytes, element_bytes))
      out.push_back(byte);
  }
  return out;
}

}  // namespace cairn::test
