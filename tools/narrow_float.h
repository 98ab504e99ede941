#pragma once

#include <cstdint>

#include "cairn/dtype.h"

namespace cairn::tools {

// A float of 16 bits or fewer, by the widths of its parts.
struct NarrowFloat {
  // Where it keeps its infinities and NaNs.
  enum class Specials {
    Ieee,          // the largest exponent holds both
    AllOnes,       // no infinity; NaN is all ones behind the sign
    NegativeZero,  // no infinity; NaN is where negative zero would be
    None,
  };

  unsigned exponent_bits;  // 0: not a narrow float
  unsigned mantissa_bits;
  int bias;
  Specials specials;

  unsigned sign() const { return 1u << (exponent_bits + mantissa_bits); }
};

NarrowFloat narrow_float(DType dtype);

// The value of the bits without their sign.
double magnitude(const NarrowFloat& type, unsigned bits);

}  // namespace cairn::tools
