#pragma once

// The numbers of two tensors, compared.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "cairn/diff.h"
#include "format/cairn/index.h"
#include "format/gguf/dequantize.h"

namespace cairn::internal {

// How the elements of a tensor become numbers.
struct Numbers {
  enum class Kind : std::uint8_t { Real, Complex, Int64, Uint64 };
  using Decode = void (*)(const Numbers& from, const std::byte* bytes, std::size_t count,
                          double* out);

  Kind kind = Kind::Real;
  std::uint32_t elements = 1;  // of a block: `bytes` bytes, which are decoded together
  std::uint32_t bytes = 0;
  Decode decode = nullptr;  // of complex elements two numbers each
  format::gguf::DequantizeBlock dequantize = nullptr;
  const double* table = nullptr;  // the number of each byte
};

// std::nullopt: it has none, or they are not known.
std::optional<Numbers> numbers_of(const format::IndexView::Tensor& tensor);

// Whether the two can be compared.
bool is_comparable(const Numbers& a, const Numbers& b) noexcept;

// What is added up over elements; sums of parts are added in the order of the parts, so that the
// result does not depend on threads.
struct ValueSums {
  std::uint64_t changed_count = 0;
  std::uint64_t not_finite_count = 0;
  double max_abs = 0;
  double max_rel = 0;
  double aa = 0;  // Σ |a|²
  double bb = 0;
  double ab = 0;
  double dd = 0;  // Σ |b − a|²

  void add(const ValueSums& next) noexcept;
};

// Elements of a tensor: how they become numbers, and their bytes.
struct NumberBytes {
  const Numbers& numbers;
  const std::byte* bytes;
};

// `count` is a multiple of both blocks, or the rest of both tensors.
ValueSums compare_values(const NumberBytes& a, const NumberBytes& b, std::uint64_t count);

ValueDifference difference_of(const ValueSums& sums, std::uint64_t element_count) noexcept;

}  // namespace cairn::internal
