// Each product and each sum is rounded to float32 by itself: this file is compiled without fused
// multiply-add (-ffp-contract=off), so that no compiler's choice shows in a value.
//
// Names are those of ggml: d and dmin are a block's scales, sc and m those of a part of it, qs the
// lower bits of the elements and qh the upper ones.

#include "format/gguf/dequantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "format/gguf/types.h"
#include "format/le.h"

namespace cairn::format::gguf {
namespace {

// The bytes of a block, each a number.
class Bytes {
 public:
  explicit Bytes(const std::byte* at) : at_(at) {}
  unsigned operator[](std::size_t i) const { return static_cast<unsigned>(at_[i]); }
  Bytes from(std::size_t offset) const { return Bytes(at_ + offset); }
  float half(std::size_t offset) const;
  int signed_at(std::size_t i) const { return static_cast<std::int8_t>(at_[i]); }

 private:
  const std::byte* at_;
};

// float16 as float32, which holds all of them.
float Bytes::half(std::size_t offset) const {
  const std::uint32_t half = load_le<std::uint16_t>(at_ + offset);
  const std::uint32_t sign = (half & 0x8000) << 16;
  const std::uint32_t magnitude = half & 0x7fff;
  if (magnitude < 0x400) {  // subnormal: a multiple of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
  }
  const std::uint32_t exponent = magnitude < 0x7c00 ? 112U << 23 : 224U << 23;
  return std::bit_cast<float>(((magnitude << 13) + exponent) | sign);
}

float as_float(unsigned value) { return static_cast<float>(value); }
float as_float(int value) { return static_cast<float>(value); }

// ---- Blocks of 32 -------------------------------------------------------------------------------

constexpr std::size_t kSmall = 32;

// Of 16 bytes the lower halves come first.
unsigned nibble(Bytes qs, std::size_t i) { return (qs[i % 16] >> (i < 16 ? 0 : 4)) & 15; }

unsigned fifth_bit(Bytes qh, std::size_t i) { return ((qh[i / 8] >> (i % 8)) & 1) << 4; }

void q4_0(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const float d = bytes.half(0);
  for (std::size_t i = 0; i < kSmall; ++i)
    out[i] = d * as_float(static_cast<int>(nibble(bytes.from(2), i)) - 8);
}

void q4_1(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const float d = bytes.half(0);
  const float m = bytes.half(2);
  for (std::size_t i = 0; i < kSmall; ++i) out[i] = d * as_float(nibble(bytes.from(4), i)) + m;
}

void q5_0(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const float d = bytes.half(0);
  for (std::size_t i = 0; i < kSmall; ++i) {
    const unsigned q = nibble(bytes.from(6), i) | fifth_bit(bytes.from(2), i);
    out[i] = d * as_float(static_cast<int>(q) - 16);
  }
}

void q5_1(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const float d = bytes.half(0);
  const float m = bytes.half(2);
  for (std::size_t i = 0; i < kSmall; ++i) {
    const unsigned q = nibble(bytes.from(8), i) | fifth_bit(bytes.from(4), i);
    out[i] = d * as_float(q) + m;
  }
}

void q8_0(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const float d = bytes.half(0);
  for (std::size_t i = 0; i < kSmall; ++i) out[i] = as_float(bytes.signed_at(2 + i)) * d;
}

void iq4_nl(const std::byte* block, float* out) {
  constexpr std::array<std::int8_t, 16> kValues = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                   1,    13,   25,  38,  53,  69,  89,  113};
  const Bytes bytes(block);
  const float d = bytes.half(0);
  for (std::size_t i = 0; i < kSmall; ++i)
    out[i] = d * as_float(int{kValues[nibble(bytes.from(2), i)]});
}

// The scale is an exponent (E8M0), halved, for the values are doubled.
void mxfp4(const std::byte* block, float* out) {
  constexpr std::array<std::int8_t, 16> kValues = {0, 1,  2,  3,  4,  6,  8,  12,
                                                   0, -1, -2, -3, -4, -6, -8, -12};
  const Bytes bytes(block);
  const std::uint32_t e = bytes[0];
  const float d = std::bit_cast<float>(e < 2 ? 0x00200000U << e : (e - 1) << 23);
  for (std::size_t i = 0; i < kSmall; ++i)
    out[i] = d * as_float(int{kValues[nibble(bytes.from(1), i)]});
}

// ---- Blocks of 256 ------------------------------------------------------------------------------

constexpr std::size_t kLarge = 256;

// Two bits of each element: of 32 bytes the lowest bits of all come first.
unsigned two_bits(Bytes qs, std::size_t i) {
  return (qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3;
}

// Four bits of each: of 32 bytes the lower halves come first.
unsigned four_bits(Bytes qs, std::size_t i) {
  return (qs[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4)) & 15;
}

// One bit of each: of 32 bytes the lowest bits of all come first.
unsigned one_bit(Bytes qh, std::size_t i) { return (qh[i % 32] >> (i / 32)) & 1; }

void q2_k(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const float d = bytes.half(80);
  const float dmin = bytes.half(82);
  for (std::size_t i = 0; i < kLarge; ++i) {
    const unsigned scale = bytes[i / 16];
    const float dl = d * as_float(scale & 15);
    const float ml = dmin * as_float(scale >> 4);
    out[i] = dl * as_float(two_bits(bytes.from(16), i)) - ml;
  }
}

// Sixteen scales of six bits: the lower four of 0 to 7 and of 8 to 15 share bytes 0 to 7, the upper
// two lie four to a byte behind them.
int q3_scale(Bytes scales, std::size_t i) {
  const unsigned low = (scales[i % 8] >> (i < 8 ? 0 : 4)) & 15;
  const unsigned high = (scales[8 + i % 4] >> (i / 4 * 2)) & 3;
  return static_cast<int>(low | high << 4) - 32;
}

// A bit that is set in the mask stands for no offset.
void q3_k(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const float d = bytes.half(108);
  for (std::size_t i = 0; i < kLarge; ++i) {
    const float dl = d * as_float(q3_scale(bytes.from(96), i / 16));
    const int offset = one_bit(bytes, i) == 0 ? 4 : 0;
    out[i] = dl * as_float(static_cast<int>(two_bits(bytes.from(32), i)) - offset);
  }
}

// Eight scales and eight minima of six bits in twelve bytes.
struct ScaleAndMin {
  unsigned scale;
  unsigned min;
};
ScaleAndMin scale_and_min(Bytes bytes, std::size_t i) {
  const std::size_t j = i % 4;
  if (i < 4) return {bytes[j] & 63, bytes[4 + j] & 63};
  return {(bytes[8 + j] & 15) | ((bytes[j] >> 2) & 0x30),
          (bytes[8 + j] >> 4) | ((bytes[4 + j] >> 2) & 0x30)};
}

// Q4_K, and Q5_K with `qh`.
void scaled_k(Bytes bytes, Bytes qs, const Bytes* qh, float* out) {
  const float d = bytes.half(0);
  const float dmin = bytes.half(2);
  for (std::size_t i = 0; i < kLarge; ++i) {
    const ScaleAndMin part = scale_and_min(bytes.from(4), i / 32);
    const unsigned q = four_bits(qs, i) | (qh == nullptr ? 0 : one_bit(*qh, i) << 4);
    const float scale = d * as_float(part.scale);
    const float min = dmin * as_float(part.min);
    out[i] = scale * as_float(q) - min;
  }
}

void q4_k(const std::byte* block, float* out) {
  const Bytes bytes(block);
  scaled_k(bytes, bytes.from(16), nullptr, out);
}

void q5_k(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const Bytes qh = bytes.from(16);
  scaled_k(bytes, bytes.from(48), &qh, out);
}

// Of 64 bytes the lower halves come first.
void q6_k(const std::byte* block, float* out) {
  const Bytes bytes(block);
  const float d = bytes.half(208);
  for (std::size_t i = 0; i < kLarge; ++i) {
    const unsigned low = (bytes[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4)) & 15;
    const unsigned q = low | two_bits(bytes.from(128), i) << 4;
    const float scale = d * as_float(bytes.signed_at(192 + i / 16));
    out[i] = scale * as_float(static_cast<int>(q) - 32);
  }
}

struct Row {
  std::string_view type;
  DequantizeBlock dequantize;
};
constexpr auto kRows = std::to_array<Row>({{"Q4_0", q4_0},
                                           {"Q4_1", q4_1},
                                           {"Q5_0", q5_0},
                                           {"Q5_1", q5_1},
                                           {"Q8_0", q8_0},
                                           {"Q2_K", q2_k},
                                           {"Q3_K", q3_k},
                                           {"Q4_K", q4_k},
                                           {"Q5_K", q5_k},
                                           {"Q6_K", q6_k},
                                           {"IQ4_NL", iq4_nl},
                                           {"MXFP4", mxfp4}});

}  // namespace

DequantizeBlock dequantizer_of(std::string_view type, Block block) noexcept {
  const auto* const row = std::ranges::find(kRows, type, &Row::type);
  const Type* const known = type_named(type);
  if (row == kRows.end() || known == nullptr || known->block != block) return nullptr;
  return row->dequantize;
}

}  // namespace cairn::format::gguf
