#include "format/digest.h"
#include "format/quoted.h"

#include <algorithm>
#include <limits>
#include <new>
#include <string_view>

#include <isa-l/crc.h>
#if defined(__x86_64__)
#include <immintrin.h>
#include <xxh_x86dispatch.h>  // renames XXH3_… to the entry points that choose AVX2 or AVX-512
#else
#include <xxhash.h>
#endif

namespace cairn::format {

namespace {

// A CRC is the remainder of a polynomial over GF(2), kept bit-reversed: bit 31 is x^0, bit 30 is
// x^1, and so on. Appending n bytes multiplies the polynomial by x^(8n), so
//
//     crc(A followed by B) = crc(A) · x^(8n) mod P  xor  crc(B),        n = the length of B.
//
// The inversions before and after a CRC32C cancel out of this. x^(8n) takes one squaring per bit of
// n.
struct Polynomial {
  std::uint32_t bits;
};
constexpr std::uint32_t kModulus = 0x82f63b78;  // P of CRC32C without x^32
constexpr Polynomial kOne{1u << 31};            // x^0
constexpr Polynomial kByte{1u << 23};           // x^8

constexpr Polynomial times_x(Polynomial a) noexcept {
  return {(a.bits >> 1) ^ ((a.bits & 1u) != 0 ? kModulus : 0u)};
}

// Modulo P: the sum of b · x^i over the terms x^i of a.
constexpr Polynomial operator*(Polynomial a, Polynomial b) noexcept {
  Polynomial product{0};
  for (std::uint32_t term = kOne.bits; term != 0; term >>= 1) {
    if ((a.bits & term) != 0) product.bits ^= b.bits;
    b = times_x(b);
  }
  return product;
}

Digest128 canonical(XXH128_hash_t hash) noexcept {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  Digest128 digest;
  std::ranges::transform(bytes.digest, digest.bytes.begin(),
                         [](unsigned char byte) { return std::byte{byte}; });
  return digest;
}

// ISA-L 2.30 leaves the upper halves of the vector registers in use, and SSE instructions that
// follow, such as the copies of short strings, wait for them: an open of P.index with 100,000
// tensors took 1.6 times as long.
#if defined(__x86_64__)
__attribute__((target("avx"))) void release_upper_halves() noexcept { _mm256_zeroupper(); }

void after_isal() noexcept {
  static const bool has_avx = __builtin_cpu_supports("avx") != 0;
  if (has_avx) release_upper_halves();
}
#else
void after_isal() noexcept {}
#endif

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc) noexcept {
  // ISA-L takes the bare register, which starts and ends inverted, and an int for the length.
  constexpr std::size_t kPieceBytes = std::size_t{1} << 30;
  static_assert(kPieceBytes <= std::numeric_limits<int>::max());
  std::uint32_t bits = ~crc;
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    // It reads only, but says `unsigned char*`.
    auto* data = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(piece.data()));
    bits = crc32_iscsi(data, static_cast<int>(piece.size()), bits);
    bytes = bytes.subspan(piece.size());
  }
  after_isal();
  return ~bits;
}

std::uint32_t crc32c_combine(std::uint32_t crc_a, std::uint32_t crc_b,
                             std::uint64_t b_size_bytes) noexcept {
  Polynomial shift = kOne;
  Polynomial power = kByte;  // x^(8 · 2^i)
  for (std::uint64_t rest = b_size_bytes; rest != 0; rest >>= 1) {
    if ((rest & 1u) != 0) shift = shift * power;
    power = power * power;
  }
  return (Polynomial{crc_a} * shift).bits ^ crc_b;
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) append_hex(text, std::to_integer<std::uint8_t>(byte));
  return text;
}

std::string crc32c_hex(std::uint32_t crc) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8)
    append_hex(text, static_cast<std::uint8_t>(crc >> shift));
  return text;
}

std::uint64_t xxh3_64(std::string_view text) noexcept {
  return XXH3_64bits(text.data(), text.size());
}

Digest128 xxh3_128(std::span<const std::byte> bytes) noexcept {
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

Xxh3Stream::Xxh3Stream() : state_(XXH3_createState()) {
  if (state_ == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void Xxh3Stream::update(std::span<const std::byte> bytes) noexcept {
  // Null with no bytes is the one thing that xxHash calls an error.
  if (!bytes.empty()) XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

Digest128 Xxh3Stream::digest() const noexcept {
  return canonical(XXH3_128bits_digest(state_.get()));
}

void Xxh3Stream::Free::operator()(XXH3_state_s* state) const noexcept { XXH3_freeState(state); }

}  // namespace cairn::format
