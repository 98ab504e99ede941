#pragma once

// Arithmetic on numbers that come from a file: nothing instead of a wrapped result.
// Bounds are written `n <= size - offset`, never `offset + n <= size`.

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>

namespace cairn::format {

inline std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// `value` as To where it fits.
template <class To, class From>
std::optional<To> fits(From value) noexcept {
  if (!std::in_range<To>(value)) return std::nullopt;
  return static_cast<To>(value);
}

// The next multiple of the alignment. No offset of a checkpoint comes near 2^64.
inline std::uint64_t round_up(std::uint64_t offset_bytes, unsigned alignment_bytes) noexcept {
  return (offset_bytes + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
}

// Whether `size` bytes at `offset` lie inside `total` bytes.
inline bool inside(std::uint64_t offset, std::uint64_t size, std::uint64_t total) noexcept {
  return offset <= total && size <= total - offset;
}

// Elements of a shape: 1 for a scalar; nothing for a negative dimension or a count above 2^63 − 1.
// Zero-sized dimensions do not excuse an overflow of the others, as in TensorFlow.
inline std::optional<std::uint64_t> element_count(std::span<const std::int64_t> shape) noexcept {
  std::uint64_t count = 1;
  bool empty = false;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (dimension == 0) {
      empty = true;
      continue;
    }
    const auto product = checked_mul(count, static_cast<std::uint64_t>(dimension));
    if (!product || !std::in_range<std::int64_t>(*product)) return std::nullopt;
    count = *product;
  }
  return empty ? 0 : count;
}

}  // namespace cairn::format
