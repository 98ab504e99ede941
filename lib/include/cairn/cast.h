#pragma once

// Another floating-point dtype for the values of tensors, which convert() writes.

#include <cstdint>

#include "cairn/dtype.h"

namespace cairn {

// All tensors of the dtype `from` are written with the dtype `to`. Both are one of Float64,
// Float32, Float16 and Bfloat16. Each value is rounded once, to the nearest value of `to`, and to
// the even one of two that are equally near. A NaN stays a NaN with its sign.
struct Cast {
  DType from = DType::Float32;
  DType to = DType::Bfloat16;
  friend bool operator==(const Cast&, const Cast&) = default;
};

// What a cast did.
struct CastCounts {
  Cast cast;
  std::uint64_t tensor_count = 0;
  std::uint64_t value_count = 0;
  std::uint64_t became_infinite = 0;  // finite values that `to` holds as an infinity
  std::uint64_t became_zero = 0;      // values that were not zero
};

}  // namespace cairn
