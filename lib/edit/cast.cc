// Each value is rounded from the bits of its source, once. The way over float32 would round a
// float64 twice: one bfloat16 in 2^17 would be the wrong neighbour, because the first rounding made
// a tie.
//
// The loops have no branch, so that compilers make vectors of them. What depends on a condition is
// computed both ways and chosen.

#include "lib/edit/cast.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <type_traits>

#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// The parts of a dtype, as IEEE 754 describes them.
template <class BitsType, class FloatType, int kMantissa, int kExponent>
struct Ieee {
  using Bits = BitsType;
  using Float = FloatType;  // with the same bits; void: the processor has none
  static constexpr int kMantissaBits = kMantissa;
  static constexpr int kBias = (1 << (kExponent - 1)) - 1;
  static constexpr auto kSign = static_cast<Bits>(Bits{1} << (kMantissa + kExponent));
  static constexpr auto kInfinity = static_cast<Bits>(kSign - (Bits{1} << kMantissa));
  static constexpr auto kQuiet = static_cast<Bits>(Bits{1} << (kMantissa - 1));  // of a NaN
};
using Binary64 = Ieee<std::uint64_t, double, 52, 11>;
using Binary32 = Ieee<std::uint32_t, float, 23, 8>;
using Binary16 = Ieee<std::uint16_t, void, 10, 5>;
using Brain16 = Ieee<std::uint16_t, void, 7, 8>;

template <class Type>
constexpr typename Type::Bits size_of(typename Type::Bits bits) noexcept {
  return static_cast<typename Type::Bits>(bits & (Type::kSign - 1));
}

template <class Bits>
constexpr Bits choose(bool condition, Bits a, Bits b) noexcept {
  const Bits mask = Bits{0} - static_cast<Bits>(condition);
  return (a & mask) | (b & ~mask);
}

// Processors compare signed numbers of 64 bits; no size has the sign bit.
template <class Bits>
constexpr bool less(Bits a, Bits b) noexcept {
  return static_cast<std::make_signed_t<Bits>>(a) < static_cast<std::make_signed_t<Bits>>(b);
}

// To fewer bits. From is a Float of the processor.
template <class From, class To>
[[gnu::always_inline]] inline typename To::Bits narrowed(typename From::Bits bits) noexcept {
  using Bits = typename From::Bits;
  using Float = typename From::Float;
  constexpr int kShift = From::kMantissaBits - To::kMantissaBits;
  constexpr Bits kRebias = Bits{From::kBias - To::kBias} << From::kMantissaBits;
  constexpr Bits kHalf = Bits{1} << (kShift - 1);
  const Bits size = size_of<From>(bits);
  Bits number = (size - kRebias + (kHalf - 1) + (size >> kShift & 1)) >> kShift;
  if constexpr (From::kBias != To::kBias) {
    // Subnormals: the processor rounds the sum with a number whose last bit is worth theirs.
    constexpr Bits kNormal = kRebias + (Bits{1} << From::kMantissaBits);
    constexpr int kLastBit = 1 - To::kBias - To::kMantissaBits;
    constexpr Bits kMagic = Bits{From::kBias + kLastBit + From::kMantissaBits}
                            << From::kMantissaBits;
    const Float small = std::bit_cast<Float>(choose(less(size, kNormal), size, kNormal));
    const Bits subnormal = std::bit_cast<Bits>(small + std::bit_cast<Float>(kMagic)) - kMagic;
    number = choose(less(size, kNormal), subnormal, number);
    // The least that rounds to infinity: the middle between the largest value and the next power.
    constexpr Bits kInfinite = (Bits{From::kBias + To::kBias + 1} << From::kMantissaBits) - kHalf;
    number = choose(less(size, kInfinite), number, Bits{To::kInfinity});
  }
  const Bits nan = Bits{To::kInfinity} | To::kQuiet | (size >> kShift & (To::kQuiet - 1));
  number = choose(less(Bits{From::kInfinity}, size), nan, number);
  return static_cast<typename To::Bits>(number | (bits ^ size) >> (8 * (sizeof(Bits) - 2)));
}

// To float32, as bits: exact.
template <class From>
[[gnu::always_inline]] inline std::uint32_t widened(std::uint32_t bits) noexcept {
  if constexpr (std::is_same_v<From, Binary16>) {
    const std::uint32_t size = bits & 0x7fff;
    const float subnormal = static_cast<float>(static_cast<std::int32_t>(size)) * 0x1p-24f;
    const std::uint32_t rebias = choose<std::uint32_t>(size < 0x7c00, 0x38000000, 0x70000000);
    const std::uint32_t number =
        choose(size < 0x400, std::bit_cast<std::uint32_t>(subnormal), (size << 13) + rebias);
    return (bits & 0x8000) << 16 | number;
  } else {
    return bits << 16;
  }
}

template <class From, class To>
[[gnu::always_inline]] inline typename To::Bits converted(typename From::Bits bits) noexcept {
  if constexpr (std::is_void_v<typename From::Float>) {
    const std::uint32_t wide = widened<From>(bits);
    if constexpr (std::is_same_v<To, Binary32>)
      return wide;
    else
      return converted<Binary32, To>(wide);
  } else if constexpr (std::is_void_v<typename To::Float>) {
    return narrowed<From, To>(bits);
  } else {  // the processor rounds as this file does
    return std::bit_cast<typename To::Bits>(
        static_cast<typename To::Float>(std::bit_cast<typename From::Float>(bits)));
  }
}

// A loop of a fixed length: GCC makes vectors of no other one at -O2.
constexpr std::size_t kStepValues = 1024;

template <class From, class To>
[[gnu::always_inline]] inline CastTally cast_step(const std::byte* __restrict from,
                                                  std::byte* __restrict to) noexcept {
  std::uint32_t infinite = 0;
  std::uint32_t zero = 0;
  for (std::size_t i = 0; i < kStepValues; ++i) {
    typename From::Bits bits;
    std::memcpy(&bits, from + i * sizeof bits, sizeof bits);
    const typename To::Bits result = converted<From, To>(bits);
    std::memcpy(to + i * sizeof result, &result, sizeof result);
    const auto before = size_of<From>(bits);
    const auto after = size_of<To>(result);
    infinite += static_cast<std::uint32_t>(after == To::kInfinity) &
                static_cast<std::uint32_t>(before < From::kInfinity);
    zero += static_cast<std::uint32_t>(after == 0) & static_cast<std::uint32_t>(before != 0);
  }
  return {infinite, zero};
}

// How wide the processor's vectors are: 128 bits, which every x86-64 has, or 256.
enum class Vectors : std::uint8_t { Narrow, Wide };

template <class From, class To>
CastTally narrow_step(const std::byte* __restrict from, std::byte* __restrict to) noexcept {
  return cast_step<From, To>(from, to);
}

#if defined(__x86_64__)
template <class From, class To>
__attribute__((target("avx2"))) CastTally wide_step(const std::byte* __restrict from,
                                                    std::byte* __restrict to) noexcept {
  return cast_step<From, To>(from, to);
}
Vectors vectors() noexcept {
  static const bool wide = __builtin_cpu_supports("avx2") != 0;
  return wide ? Vectors::Wide : Vectors::Narrow;
}
#else
template <class From, class To>
constexpr auto wide_step = narrow_step<From, To>;
Vectors vectors() noexcept { return Vectors::Narrow; }
#endif

template <class From, class To>
CastTally cast_all(std::span<const std::byte> from, std::span<std::byte> to,
                   Vectors vectors) noexcept {
  constexpr std::size_t kFromBytes = sizeof(typename From::Bits);
  constexpr std::size_t kToBytes = sizeof(typename To::Bits);
  const std::size_t count = from.size() / kFromBytes;
  CAIRN_ASSERT(from.size() == count * kFromBytes && to.size() == count * kToBytes);
  const auto step = vectors == Vectors::Wide ? wide_step<From, To> : narrow_step<From, To>;
  CastTally tally;
  const auto add = [&](const CastTally& more) {
    tally.became_infinite += more.became_infinite;
    tally.became_zero += more.became_zero;
  };
  std::size_t done = 0;
  for (; count - done >= kStepValues; done += kStepValues)
    add(step(from.data() + done * kFromBytes, to.data() + done * kToBytes));
  if (done == count) return tally;
  // The last values, filled up with zeros, which count for nothing.
  std::array<std::byte, kStepValues * kFromBytes> rest{};
  std::array<std::byte, kStepValues * kToBytes> cast;
  std::ranges::copy(from.subspan(done * kFromBytes), rest.begin());
  add(step(rest.data(), cast.data()));
  std::copy_n(cast.begin(), (count - done) * kToBytes,
              to.begin() + static_cast<std::ptrdiff_t>(done * kToBytes));
  return tally;
}

using CastFunction = CastTally (*)(std::span<const std::byte>, std::span<std::byte>,
                                   Vectors) noexcept;

// nullptr: there is no cast of a dtype to itself.
template <class From, class To>
constexpr CastFunction kFunction = cast_all<From, To>;
template <class Same>
constexpr CastFunction kFunction<Same, Same> = nullptr;

template <class From>
CastFunction function_to(DType to) noexcept {
  switch (to) {
    case DType::Float64:
      return kFunction<From, Binary64>;
    case DType::Float32:
      return kFunction<From, Binary32>;
    case DType::Float16:
      return kFunction<From, Binary16>;
    case DType::Bfloat16:
      return kFunction<From, Brain16>;
    default:
      return nullptr;
  }
}

// nullptr: there is no such cast.
CastFunction function_of(const Cast& cast) noexcept {
  switch (cast.from) {
    case DType::Float64:
      return function_to<Binary64>(cast.to);
    case DType::Float32:
      return function_to<Binary32>(cast.to);
    case DType::Float16:
      return function_to<Binary16>(cast.to);
    case DType::Bfloat16:
      return function_to<Brain16>(cast.to);
    default:
      return nullptr;
  }
}

CastTally cast_with(Vectors vectors, const Cast& cast, std::span<const std::byte> from,
                    std::span<std::byte> to) noexcept {
  const CastFunction function = function_of(cast);
  CAIRN_ASSERT(function != nullptr);
  return function(from, to, vectors);
}

Result<void> check(const std::filesystem::path& path, std::span<const Cast> casts) {
  for (std::size_t i = 0; i < casts.size(); ++i) {
    const std::string from(name(casts[i].from));
    const std::string what =
        path.string() + ": cast of " + from + " to " + std::string(name(casts[i].to));
    if (casts[i].from == casts[i].to)
      return Error{Code::Invalid, 0, what + ": both are the same dtype"};
    if (function_of(casts[i]) == nullptr)
      return Error{Code::Unsupported, 0,
                   what + ": only float64, float32, float16 and bfloat16 can be cast"};
    const auto before = casts.first(i);
    if (std::ranges::find(before, casts[i].from, &Cast::from) != before.end())
      return Error{Code::Invalid, 0, what + ": " + from + " is cast twice; give it one new dtype"};
  }
  return {};
}

}  // namespace

CastTally cast_values(const Cast& cast, std::span<const std::byte> from,
                      std::span<std::byte> to) noexcept {
  return cast_with(vectors(), cast, from, to);
}

CastTally cast_values_narrow(const Cast& cast, std::span<const std::byte> from,
                             std::span<std::byte> to) noexcept {
  return cast_with(Vectors::Narrow, cast, from, to);
}

Result<void> apply_casts(const std::filesystem::path& path, std::span<const Cast> casts,
                         std::span<OutgoingTensor> tensors, Transfer& transfer) {
  CAIRN_CHECK(check(path, casts));
  std::vector<bool> done(tensors.size());  // what has become another dtype is not cast again
  for (const Cast& cast : casts) {
    CastCounts counts{cast};
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (done[i] || tensors[i].spec.dtype != cast.from) continue;
      tensors[i].spec.dtype = cast.to;
      done[i] = true;
      ++counts.tensor_count;
    }
    if (counts.tensor_count == 0) {
      transfer.warnings.push_back(path.string() + ": no tensor is " + std::string(name(cast.from)) +
                                  ", so none became " + std::string(name(cast.to)));
    }
    transfer.casts.push_back(counts);
  }
  return {};
}

void warn_of_casts(const std::filesystem::path& path, Transfer& transfer) {
  for (const CastCounts& counts : transfer.casts) {
    if (counts.became_infinite + counts.became_zero == 0) continue;
    transfer.warnings.push_back(path.string() + ": of " + std::to_string(counts.value_count) +
                                " values of " + std::string(name(counts.cast.from)) + ", as " +
                                std::string(name(counts.cast.to)) + ", " +
                                std::to_string(counts.became_infinite) + " became infinite and " +
                                std::to_string(counts.became_zero) + " became zero");
  }
}

}  // namespace cairn::internal
