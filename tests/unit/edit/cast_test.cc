// Casts against exact arithmetic: a float is a whole number times a power of two, and is rounded
// with integers alone.

#include "lib/edit/cast.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cairn/dtype.h"

namespace cairn {
namespace {

// What IEEE 754 says of a format, by its widths.
struct FloatFormat {
  DType dtype;
  int exponent_bits;
  int mantissa_bits;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  int lowest_exponent() const { return 1 - bias() - mantissa_bits; }  // of the last bit
  std::uint64_t infinity() const {
    return ((std::uint64_t{1} << exponent_bits) - 1) << mantissa_bits;
  }
  std::uint64_t sign() const { return std::uint64_t{1} << (exponent_bits + mantissa_bits); }
};

constexpr FloatFormat kFloat64{DType::Float64, 11, 52};
constexpr FloatFormat kFloat32{DType::Float32, 8, 23};
constexpr FloatFormat kFloat16{DType::Float16, 5, 10};
constexpr FloatFormat kBfloat16{DType::Bfloat16, 8, 7};
constexpr FloatFormat kFormats[] = {kFloat64, kFloat32, kFloat16, kBfloat16};

// number · 2^exponent
struct Exact {
  std::uint64_t number = 0;
  int exponent = 0;
};

Exact exact(const FloatFormat& format, std::uint64_t size) {
  const std::uint64_t mantissa = size & ((std::uint64_t{1} << format.mantissa_bits) - 1);
  const int biased = static_cast<int>(size >> format.mantissa_bits);
  if (biased == 0) return {mantissa, format.lowest_exponent()};
  return {mantissa | std::uint64_t{1} << format.mantissa_bits,
          format.lowest_exponent() + biased - 1};
}

// number / 2^shift, to the nearest whole number, and to the even one of two.
std::uint64_t divided(std::uint64_t number, int shift) {
  if (shift <= 0) return number << -shift;
  if (shift > 63) return 0;  // a number has 54 bits at most
  const std::uint64_t quotient = number >> shift;
  const std::uint64_t rest = number - (quotient << shift);
  const std::uint64_t half = std::uint64_t{1} << (shift - 1);
  const bool up = rest > half || (rest == half && quotient % 2 == 1);
  return quotient + (up ? 1 : 0);
}

// The bits without their sign. They count the values of the format from zero, infinity among them.
std::uint64_t rounded(const FloatFormat& format, Exact value) {
  if (value.number == 0) return 0;
  const int highest_bit = static_cast<int>(std::bit_width(value.number)) - 1 + value.exponent;
  const int last_bit = std::max(highest_bit - format.mantissa_bits, format.lowest_exponent());
  const std::uint64_t mantissa = divided(value.number, last_bit - value.exponent);
  const auto steps = static_cast<std::uint64_t>(last_bit - format.lowest_exponent());
  const std::uint64_t size = (steps << format.mantissa_bits) + mantissa;
  return std::min(size, format.infinity());
}

std::string bytes_of(DType dtype, const std::vector<std::uint64_t>& values) {
  const std::size_t width = element_bytes(dtype);
  std::string bytes(values.size() * width, '\0');
  for (std::size_t i = 0; i < values.size(); ++i)
    std::memcpy(bytes.data() + i * width, &values[i], width);  // little-endian
  return bytes;
}

std::uint64_t value_at(DType dtype, const std::string& bytes, std::size_t i) {
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data() + i * element_bytes(dtype), element_bytes(dtype));
  return value;
}

// Casts them all, and compares each with exact arithmetic.
void check_cast(const FloatFormat& from, const FloatFormat& to,
                const std::vector<std::uint64_t>& values) {
  CAPTURE(name(from.dtype));
  CAPTURE(name(to.dtype));
  const std::string given = bytes_of(from.dtype, values);
  std::string got(values.size() * element_bytes(to.dtype), '\xa5');
  const auto tally = internal::cast_values({from.dtype, to.dtype}, std::as_bytes(std::span(given)),
                                           std::as_writable_bytes(std::span(got)));
  std::uint64_t infinite = 0;
  std::uint64_t zero = 0;
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t size = values[i] & ~from.sign();
    const std::uint64_t result = value_at(to.dtype, got, i);
    const std::uint64_t result_size = result & ~to.sign();
    bool right = ((values[i] & from.sign()) != 0) == ((result & to.sign()) != 0);
    if (size > from.infinity()) {
      right = right && result_size > to.infinity();
    } else {
      const std::uint64_t wanted =
          size == from.infinity() ? to.infinity() : rounded(to, exact(from, size));
      right = right && result_size == wanted;
      infinite += wanted == to.infinity() && size != from.infinity() ? 1 : 0;
      zero += wanted == 0 && size != 0 ? 1 : 0;
    }
    if (right) continue;
    if (++wrong <= 3) MESSAGE("bits ", values[i], " became ", result);
  }
  CHECK(wrong == 0);
  CHECK(tally.became_infinite == infinite);
  CHECK(tally.became_zero == zero);
}

template <class Check>
void for_each_cast(Check check) {
  for (const FloatFormat& from : kFormats) {
    for (const FloatFormat& to : kFormats) {
      if (from.dtype != to.dtype) check(from, to);
    }
  }
}

std::vector<std::uint64_t> all_of_16_bits() {
  std::vector<std::uint64_t> all;
  for (std::uint64_t bits = 0; bits < 0x10000; ++bits) all.push_back(bits);
  return all;
}

// Where the target changes from one value to the next: its values, the points in the middle, and
// the neighbours of both in the source.
std::vector<std::uint64_t> boundaries(const FloatFormat& from, const FloatFormat& to,
                                      const std::vector<std::uint64_t>& sizes) {
  std::vector<std::uint64_t> values;
  for (const std::uint64_t size : sizes) {
    const Exact value = exact(to, size);
    for (const Exact& point : {value, Exact{2 * value.number + 1, value.exponent - 1}}) {
      const std::uint64_t there = rounded(from, point);
      for (const std::uint64_t near : {there - 1, there, there + 1}) {
        values.push_back(near & ~from.sign());
        values.push_back(near | from.sign());
      }
    }
  }
  return values;
}

TEST_CASE("every value of 16 bits is cast exactly or rounded once") {
  for_each_cast([](const FloatFormat& from, const FloatFormat& to) {
    if (element_bytes(from.dtype) == 2) check_cast(from, to, all_of_16_bits());
  });
}

TEST_CASE("values at and beside every tie of a 16-bit target are rounded once, to nearest even") {
  for_each_cast([](const FloatFormat& from, const FloatFormat& to) {
    if (element_bytes(to.dtype) != 2) return;
    std::vector<std::uint64_t> sizes;
    for (std::uint64_t size = 0; size < to.infinity(); ++size) sizes.push_back(size);
    check_cast(from, to, boundaries(from, to, sizes));
  });
}

TEST_CASE("random values of every dtype are rounded once, to nearest even") {
  const auto seed = std::random_device{}();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  for_each_cast([&](const FloatFormat& from, const FloatFormat& to) {
    const std::uint64_t mask = 2 * from.sign() - 1;
    std::vector<std::uint64_t> values;
    // More than one step of the loop, and no whole number of vectors.
    for (int i = 0; i < 200'003; ++i) values.push_back(random() & mask);
    std::vector<std::uint64_t> sizes;
    for (int i = 0; i < 20'000; ++i) sizes.push_back(random() % to.infinity());
    for (const std::uint64_t value : boundaries(from, to, sizes)) values.push_back(value);
    check_cast(from, to, values);
  });
}

TEST_CASE("a double that two roundings would spoil is rounded once") {
  // Just above the middle of 1 and the next bfloat16: as a float32 it is the middle itself, which
  // rounds down to 1.
  const double value = 1 + 0x1p-8 + 0x1p-40;
  const std::vector<std::uint64_t> values{std::bit_cast<std::uint64_t>(value)};
  const std::string given = bytes_of(DType::Float64, values);
  std::string got(2, '\0');
  internal::cast_values({DType::Float64, DType::Bfloat16}, std::as_bytes(std::span(given)),
                        std::as_writable_bytes(std::span(got)));
  CHECK(value_at(DType::Bfloat16, got, 0) == 0x3f81);
}

TEST_CASE("infinity, zero and what becomes them are told apart") {
  const auto bits = [](double value) { return std::bit_cast<std::uint64_t>(value); };
  const double infinity = std::numeric_limits<double>::infinity();
  check_cast(kFloat64, kFloat16,
             {bits(0.0), bits(-0.0), bits(infinity), bits(-infinity), bits(65519.999), bits(65520),
              bits(-1e300), bits(0x1p-25), bits(std::nextafter(0x1p-25, 1)), bits(-1e-300),
              bits(std::numeric_limits<double>::quiet_NaN()),
              bits(std::numeric_limits<double>::denorm_min())});
  check_cast(kFloat32, kBfloat16,
             {0x7f7f8000, 0x7f7f7fff, 0x7f800001, 0xff800001, 1, 0x8000, 0x8001});
}

}  // namespace
}  // namespace cairn
