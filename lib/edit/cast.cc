// Every source is brought to float32 first, which holds all values of float16 and bfloat16, and is
// rounded from there. A float64 has more digits than float32: rounding it twice, to nearest each
// time, gives another result for one value in 2^17 (of bfloat16), that of a tie which the first
// rounding made. So its first rounding is to odd: what is not exact gets a last bit of 1, and then
// no tie is made. The second rounding is right because float32 has more than two bits more than
// both 16-bit dtypes (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums").
//
// The loops have no branch, so that compilers make vectors of them. What depends on a condition is
// computed both ways and chosen.

#include "lib/edit/cast.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <type_traits>

#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::uint32_t kSign = 0x80000000;
constexpr std::uint32_t kInfinity = 0x7f800000;  // of float32, as bits; above it are the NaNs
constexpr std::uint32_t kQuiet = 0x00400000;     // a NaN with this bit stays one when it is cut

constexpr std::uint32_t choose(bool condition, std::uint32_t a, std::uint32_t b) noexcept {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return (a & mask) | (b & ~mask);
}

// ---- The dtypes: bits of one value ----

struct Binary64 {
  using Bits = std::uint64_t;
  static constexpr Bits kInfinityBits = 0x7ff0000000000000;
};
struct Binary32 {
  using Bits = std::uint32_t;
  static constexpr Bits kInfinityBits = kInfinity;
};
struct Binary16 {
  using Bits = std::uint16_t;
  static constexpr Bits kInfinityBits = 0x7c00;
};
struct Brain16 {
  using Bits = std::uint16_t;
  static constexpr Bits kInfinityBits = 0x7f80;
};

template <class Type>
constexpr typename Type::Bits magnitude(typename Type::Bits bits) noexcept {
  constexpr auto kSignBit =
      static_cast<typename Type::Bits>(typename Type::Bits{1} << (8 * sizeof bits - 1));
  return static_cast<typename Type::Bits>(bits & static_cast<typename Type::Bits>(~kSignBit));
}

// ---- To float32, as bits ----

inline std::uint32_t widened(Binary32, std::uint32_t bits) noexcept { return bits; }
inline std::uint32_t widened(Brain16, std::uint16_t bits) noexcept {
  return std::uint32_t{bits} << 16;
}

// A subnormal times 2^112, as a product of float32, is exact.
inline std::uint32_t widened(Binary16, std::uint16_t bits) noexcept {
  const std::uint32_t size = bits & 0x7fffu;
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const float scaled = std::bit_cast<float>(size << 13) * 0x1p112f;
  return sign | choose(size >= 0x7c00, kInfinity | (size & 0x3ff) << 13,
                       std::bit_cast<std::uint32_t>(scaled));
}

// Rounded to odd. Between the two neighbours of a value that is not exact one is odd; that which is
// nearest is corrected by one step, away from zero or towards it.
inline std::uint32_t rounded_to_odd(double value) noexcept {
  const float nearest = static_cast<float>(value);
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(nearest);
  const double back = static_cast<double>(nearest);
  const double size = value < 0 ? -value : value;
  const double back_size = back < 0 ? -back : back;
  const std::uint32_t even = ~bits & 1;
  const std::uint32_t up = static_cast<std::uint32_t>(back_size < size) & even;
  const std::uint32_t down = static_cast<std::uint32_t>(back_size > size) & even;
  return bits + up - down;
}

// ---- From float32, to nearest even ----

inline std::uint16_t narrowed(Brain16, std::uint32_t bits) noexcept {
  const std::uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  const bool nan = (bits & ~kSign) > kInfinity;
  return static_cast<std::uint16_t>(choose(nan, bits | kQuiet, rounded) >> 16);
}

// Below 2^-14 the sum of float32 with 0.5 does the rounding: its last bit is worth 2^-24, as that
// of a subnormal is.
inline std::uint16_t narrowed(Binary16, std::uint32_t bits) noexcept {
  const std::uint32_t size = bits & ~kSign;
  const std::uint32_t sign = bits >> 16 & 0x8000;
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(std::min(size, 0x38800000u)) + 0.5f) -
      std::bit_cast<std::uint32_t>(0.5f);
  const std::uint32_t normal = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
  const std::uint32_t nan = 0x7e00 | (size >> 13 & 0x3ff);
  const std::uint32_t finite = choose(size < 0x38800000, subnormal, normal);
  const std::uint32_t number = choose(size >= 0x477ff000, 0x7c00, finite);
  return static_cast<std::uint16_t>(sign | choose(size > kInfinity, nan, number));
}

// ---- One value ----

template <class From, class To>
typename To::Bits converted(typename From::Bits bits) noexcept {
  constexpr bool kFromDouble = std::is_same_v<From, Binary64>;
  if constexpr (kFromDouble && std::is_same_v<To, Binary32>) {
    return std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
  } else if constexpr (kFromDouble) {
    return narrowed(To{}, rounded_to_odd(std::bit_cast<double>(bits)));
  } else if constexpr (std::is_same_v<To, Binary64>) {
    const float value = std::bit_cast<float>(widened(From{}, bits));
    return std::bit_cast<std::uint64_t>(static_cast<double>(value));
  } else if constexpr (std::is_same_v<To, Binary32>) {
    return widened(From{}, bits);
  } else {
    return narrowed(To{}, widened(From{}, bits));
  }
}

// The counts of so many values fit into 32 bits, which more lanes of a vector can add.
constexpr std::size_t kStepValues = 1u << 16;

template <class From, class To>
CastTally cast_step(const std::byte* from, std::byte* to, std::size_t count) noexcept {
  std::uint32_t infinite = 0;
  std::uint32_t zero = 0;
  for (std::size_t i = 0; i < count; ++i) {
    typename From::Bits bits;
    std::memcpy(&bits, from + i * sizeof bits, sizeof bits);
    const typename To::Bits result = converted<From, To>(bits);
    std::memcpy(to + i * sizeof result, &result, sizeof result);
    const auto before = magnitude<From>(bits);
    const auto after = magnitude<To>(result);
    infinite += static_cast<std::uint32_t>(after == To::kInfinityBits) &
                static_cast<std::uint32_t>(before < From::kInfinityBits);
    zero += static_cast<std::uint32_t>(after == 0) & static_cast<std::uint32_t>(before != 0);
  }
  return {infinite, zero};
}

template <class From, class To>
CastTally cast_all(std::span<const std::byte> from, std::span<std::byte> to) noexcept {
  constexpr std::size_t kFromBytes = sizeof(typename From::Bits);
  constexpr std::size_t kToBytes = sizeof(typename To::Bits);
  const std::size_t count = from.size() / kFromBytes;
  CAIRN_ASSERT(from.size() == count * kFromBytes && to.size() == count * kToBytes);
  CastTally tally;
  for (std::size_t i = 0; i < count; i += kStepValues) {
    const CastTally step = cast_step<From, To>(
        from.data() + i * kFromBytes, to.data() + i * kToBytes, std::min(kStepValues, count - i));
    tally.became_infinite += step.became_infinite;
    tally.became_zero += step.became_zero;
  }
  return tally;
}

using CastFunction = CastTally (*)(std::span<const std::byte>, std::span<std::byte>) noexcept;

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
  const CastFunction function = function_of(cast);
  CAIRN_ASSERT(function != nullptr);
  return function(from, to);
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
