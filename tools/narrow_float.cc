#include "narrow_float.h"

#include <cmath>
#include <limits>

namespace cairn::tools {
namespace {

using Specials = NarrowFloat::Specials;

}  // namespace

NarrowFloat narrow_float(DType dtype) {
  switch (dtype) {
    case DType::Float16:
      return {5, 10, 15, Specials::Ieee};
    case DType::Bfloat16:
      return {8, 7, 127, Specials::Ieee};
    case DType::Float8E5M2:
      return {5, 2, 15, Specials::Ieee};
    case DType::Float8E4M3FN:
      return {4, 3, 7, Specials::AllOnes};
    case DType::Float8E4M3FNUZ:
      return {4, 3, 8, Specials::NegativeZero};
    case DType::Float8E4M3B11FNUZ:
      return {4, 3, 11, Specials::NegativeZero};
    case DType::Float8E5M2FNUZ:
      return {5, 2, 16, Specials::NegativeZero};
    case DType::Float4E2M1FN:
      return {2, 1, 1, Specials::None};
    default:
      return {};
  }
}

double magnitude(const NarrowFloat& type, unsigned bits) {
  const unsigned mantissa = bits & ((1u << type.mantissa_bits) - 1);
  const unsigned exponent = bits >> type.mantissa_bits;
  const unsigned largest = (1u << type.exponent_bits) - 1;
  const unsigned all_ones = (1u << (type.exponent_bits + type.mantissa_bits)) - 1;
  if (type.specials == Specials::Ieee && exponent == largest) {
    return mantissa == 0 ? std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  if (type.specials == Specials::AllOnes && bits == all_ones) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const int scale = static_cast<int>(exponent == 0 ? 1 : exponent) - type.bias;
  const double implicit = exponent == 0 ? 0 : 1;
  return std::ldexp(implicit + std::ldexp(mantissa, -static_cast<int>(type.mantissa_bits)), scale);
}

}  // namespace cairn::tools
