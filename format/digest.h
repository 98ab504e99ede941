#pragma once

// The two sums of Cairn. CRC32C (Castagnoli, what TensorFlow stores) guards tensors: any flipped
// bit and any burst of up to 32 bits is found. XXH3-128 is a tensor's content hash and the digest
// over index files. Neither resists a forger.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "cairn/tensor.h"

struct XXH3_state_s;  // xxHash's, so that its header stays out of this one

namespace cairn::format {

// CRC32C of `bytes`, going on from `crc` (0 to start). ISA-L, dispatched at run time; memory speed.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc = 0) noexcept;

// The CRC32C of A followed by B, from those of A and of B and from B's length. Cost: O(log length).
std::uint32_t crc32c_combine(std::uint32_t crc_a, std::uint32_t crc_b,
                             std::uint64_t b_size_bytes) noexcept;

// TensorFlow and LevelDB store sums masked, because the CRC of data that holds its own CRC is weak.
constexpr std::uint32_t crc32c_mask(std::uint32_t crc) noexcept {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}
constexpr std::uint32_t crc32c_unmask(std::uint32_t masked) noexcept {
  const std::uint32_t rotated = masked - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}

// Lower-case hex digits, two for each byte.
std::string hex(std::span<const std::byte> bytes);

// 8 lower-case hex digits.
std::string crc32c_hex(std::uint32_t crc);

// XXH3-64 of a short text, for a hash table: never written anywhere.
std::uint64_t xxh3_64(std::string_view text) noexcept;

// XXH3-128 of `bytes`. Dispatched at run time to AVX2 or AVX-512.
Digest128 xxh3_128(std::span<const std::byte> bytes) noexcept;

// The same for bytes that come in pieces. Threads: one at a time. Memory: 576 bytes.
class Xxh3Stream {
 public:
  Xxh3Stream();  // throws std::bad_alloc

  void update(std::span<const std::byte> bytes) noexcept;
  Digest128 digest() const noexcept;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const noexcept;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace cairn::format
