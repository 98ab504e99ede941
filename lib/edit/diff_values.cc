// Elements of both tensors become float64 in small blocks, which stay in the cache, and one loop
// compares these: so any two dtypes can be compared. 64-bit integers of one dtype are subtracted as
// integers, because a float64 does not hold all of them.

#include "lib/edit/diff_values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace cairn::internal {
namespace {

using Kind = Numbers::Kind;

constexpr std::size_t kBlockElements = 1024;           // a multiple of every block of ggml's
using Block = std::array<double, 2 * kBlockElements>;  // complex numbers have two

// ---- elements to numbers

template <class T>
void decode_as(const Numbers&, const std::byte* bytes, std::size_t count, double* out) {
  for (std::size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, bytes + i * sizeof value, sizeof value);
    if constexpr (std::is_class_v<T>)
      out[i] = static_cast<double>(to_float(value));
    else
      out[i] = static_cast<double>(value);
  }
}

template <class T>
void decode_complex(const Numbers& from, const std::byte* bytes, std::size_t count, double* out) {
  decode_as<T>(from, bytes, 2 * count, out);
}

void decode_table(const Numbers& from, const std::byte* bytes, std::size_t count, double* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = from.table[std::to_integer<unsigned>(bytes[i])];
}

void decode_blocks(const Numbers& from, const std::byte* bytes, std::size_t count, double* out) {
  std::array<float, format::gguf::kBlockElementsMax> values;
  for (std::size_t done = 0; done < count; done += from.elements) {
    from.dequantize(bytes + done / from.elements * from.bytes, values.data());
    const std::size_t wanted = std::min<std::size_t>(from.elements, count - done);
    for (std::size_t i = 0; i < wanted; ++i) out[done + i] = static_cast<double>(values[i]);
  }
}

// A float of at most eight bits, by the widths of its parts.
struct TinyFloat {
  enum class Specials : std::uint8_t {
    Ieee,          // the largest exponent holds infinities and NaNs
    AllOnes,       // NaN is all ones behind the sign
    NegativeZero,  // NaN is where negative zero would be
    None,
  };
  int exponent_bits;
  int mantissa_bits;
  int bias;
  Specials specials;
};

constexpr double times_two_to(double value, int power) {
  for (; power > 0; --power) value *= 2;
  for (; power < 0; ++power) value /= 2;
  return value;
}

constexpr double value_of(const TinyFloat& type, unsigned bits) {
  using Specials = TinyFloat::Specials;
  const int magnitude_bits = type.exponent_bits + type.mantissa_bits;
  const unsigned magnitude = bits & ((1u << magnitude_bits) - 1);
  const int mantissa = static_cast<int>(magnitude & ((1u << type.mantissa_bits) - 1));
  const int exponent = static_cast<int>(magnitude >> type.mantissa_bits);
  const bool negative = (bits >> magnitude_bits & 1) != 0;
  const bool special = type.specials == Specials::Ieee && exponent == (1 << type.exponent_bits) - 1;
  const bool not_a_number =
      (type.specials == Specials::NegativeZero && negative && magnitude == 0) ||
      (type.specials == Specials::AllOnes && magnitude == (1u << magnitude_bits) - 1) ||
      (special && mantissa != 0);
  if (not_a_number) return std::numeric_limits<double>::quiet_NaN();
  const int significand = mantissa + (exponent == 0 ? 0 : 1 << type.mantissa_bits);
  const double value = special ? std::numeric_limits<double>::infinity()
                               : times_two_to(significand, (exponent == 0 ? 1 : exponent) -
                                                               type.bias - type.mantissa_bits);
  return negative ? -value : value;
}

using Table = std::array<double, 256>;

template <class Value>
constexpr Table table_of(const Value& value) {
  Table table{};
  for (unsigned bits = 0; bits < table.size(); ++bits) table[bits] = value(bits);
  return table;
}

template <int kExponentBits, int kMantissaBits, int kBias, TinyFloat::Specials kSpecials>
Numbers tiny_float() {
  static constexpr Table kTable = table_of([](unsigned bits) {
    return value_of({kExponentBits, kMantissaBits, kBias, kSpecials}, bits);
  });
  return {.bytes = 1, .decode = decode_table, .table = kTable.data()};
}

// Int4 and the like have a byte each: the low bits count, with or without a sign.
template <int kBits, bool kSigned>
Numbers low_bits() {
  static constexpr Table kTable = table_of([](unsigned bits) {
    const int low = static_cast<int>(bits) & ((1 << kBits) - 1);
    return static_cast<double>(kSigned && low >= 1 << (kBits - 1) ? low - (1 << kBits) : low);
  });
  return {.bytes = 1, .decode = decode_table, .table = kTable.data()};
}

template <class T>
Numbers native(Kind kind = Kind::Real) {
  return {.kind = kind, .bytes = sizeof(T), .decode = decode_as<T>};
}

// With `bytes` 0: the dtype has no numbers.
Numbers numbers_of_dtype(DType dtype) {
  using Specials = TinyFloat::Specials;
  switch (dtype) {
    case DType::Float32:
      return native<float>();
    case DType::Float64:
      return native<double>();
    case DType::Float16:
      return native<Half>();
    case DType::Bfloat16:
      return native<BFloat16>();
    case DType::Int8:
    case DType::Qint8:
      return native<std::int8_t>();
    case DType::Int16:
    case DType::Qint16:
      return native<std::int16_t>();
    case DType::Int32:
    case DType::Qint32:
      return native<std::int32_t>();
    case DType::Int64:
      return native<std::int64_t>(Kind::Int64);
    case DType::Uint8:
    case DType::Quint8:
    case DType::Bool:
      return native<std::uint8_t>();
    case DType::Uint16:
    case DType::Quint16:
      return native<std::uint16_t>();
    case DType::Uint32:
      return native<std::uint32_t>();
    case DType::Uint64:
      return native<std::uint64_t>(Kind::Uint64);
    case DType::Complex64:
      return {.kind = Kind::Complex, .bytes = 8, .decode = decode_complex<float>};
    case DType::Complex128:
      return {.kind = Kind::Complex, .bytes = 16, .decode = decode_complex<double>};
    case DType::Float8E5M2:
      return tiny_float<5, 2, 15, Specials::Ieee>();
    case DType::Float8E4M3FN:
      return tiny_float<4, 3, 7, Specials::AllOnes>();
    case DType::Float8E4M3FNUZ:
      return tiny_float<4, 3, 8, Specials::NegativeZero>();
    case DType::Float8E4M3B11FNUZ:
      return tiny_float<4, 3, 11, Specials::NegativeZero>();
    case DType::Float8E5M2FNUZ:
      return tiny_float<5, 2, 16, Specials::NegativeZero>();
    case DType::Float4E2M1FN:
      return tiny_float<2, 1, 1, Specials::None>();
    case DType::Int4:
      return low_bits<4, true>();
    case DType::Uint4:
      return low_bits<4, false>();
    case DType::Int2:
      return low_bits<2, true>();
    case DType::Uint2:
      return low_bits<2, false>();
    default:
      return {};
  }
}

// ---- comparing numbers

// Of one element: |a|, |b| and |b − a|, and the real part of a·conj(b).
struct Element {
  double a;
  double b;
  double d;
  double product;
};

void add_element(const Element& e, ValueSums& sums) {
  if (e.d != 0) ++sums.changed_count;
  const double size = std::max(e.a, e.b);
  sums.max_abs = std::max(sums.max_abs, e.d);
  sums.max_rel = std::max(sums.max_rel, size == 0 ? 0 : e.d / size);
  sums.aa += e.a * e.a;
  sums.bb += e.b * e.b;
  sums.ab += e.product;
  sums.dd += e.d * e.d;
}

bool is_equal(double a, double b) noexcept { return a == b || (std::isnan(a) && std::isnan(b)); }

void add_not_finite(bool equal, ValueSums& sums) noexcept {
  if (equal) return;
  ++sums.changed_count;
  ++sums.not_finite_count;
}

// `d` is b − a, or nullptr: it is what float64 says.
ValueSums compare_real(const double* a, const double* b, const double* d, std::size_t count) {
  ValueSums sums;
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      add_not_finite(is_equal(a[i], b[i]), sums);
      continue;
    }
    const double difference = std::abs(d == nullptr ? b[i] - a[i] : d[i]);
    add_element({std::abs(a[i]), std::abs(b[i]), difference, a[i] * b[i]}, sums);
  }
  return sums;
}

ValueSums compare_complex(const double* a, const double* b, std::size_t count) {
  ValueSums sums;
  for (std::size_t i = 0; i < 2 * count; i += 2) {
    const bool finite = std::isfinite(a[i]) && std::isfinite(a[i + 1]) && std::isfinite(b[i]) &&
                        std::isfinite(b[i + 1]);
    if (!finite) {
      add_not_finite(is_equal(a[i], b[i]) && is_equal(a[i + 1], b[i + 1]), sums);
      continue;
    }
    add_element({std::hypot(a[i], a[i + 1]), std::hypot(b[i], b[i + 1]),
                 std::hypot(b[i] - a[i], b[i + 1] - a[i + 1]), a[i] * b[i] + a[i + 1] * b[i + 1]},
                sums);
  }
  return sums;
}

// b − a, of integers of one dtype.
template <class T>
void subtract(const std::byte* a, const std::byte* b, std::size_t count, double* out) {
  for (std::size_t i = 0; i < count; ++i) {
    T from{};
    T to{};
    std::memcpy(&from, a + i * sizeof from, sizeof from);
    std::memcpy(&to, b + i * sizeof to, sizeof to);
    const auto wide_from = static_cast<std::uint64_t>(from);
    const auto wide_to = static_cast<std::uint64_t>(to);
    out[i] = static_cast<double>(to >= from ? wide_to - wide_from : wide_from - wide_to);
  }
}

std::size_t bytes_of(const Numbers& numbers, std::size_t count) noexcept {
  return count / numbers.elements * numbers.bytes;
}

}  // namespace

std::optional<Numbers> numbers_of(const format::IndexView::Tensor& tensor) {
  if (tensor.encoding != format::Encoding::Raw) return std::nullopt;
  if (tensor.dtype == DType::Opaque) {
    const auto dequantize = format::gguf::dequantizer_of(tensor.opaque_dtype, tensor.block);
    if (dequantize == nullptr) return std::nullopt;
    return Numbers{.elements = tensor.block.elements,
                   .bytes = tensor.block.bytes,
                   .decode = decode_blocks,
                   .dequantize = dequantize};
  }
  Numbers numbers = numbers_of_dtype(tensor.dtype);
  if (numbers.bytes * 8 != tensor.element_bits || numbers.bytes == 0) return std::nullopt;
  return numbers;
}

bool is_comparable(const Numbers& a, const Numbers& b) noexcept {
  return (a.kind == Kind::Complex) == (b.kind == Kind::Complex);
}

void ValueSums::add(const ValueSums& next) noexcept {
  changed_count += next.changed_count;
  not_finite_count += next.not_finite_count;
  max_abs = std::max(max_abs, next.max_abs);
  max_rel = std::max(max_rel, next.max_rel);
  aa += next.aa;
  bb += next.bb;
  ab += next.ab;
  dd += next.dd;
}

ValueSums compare_values(const NumberBytes& a, const NumberBytes& b, std::uint64_t count) {
  Block of_a;
  Block of_b;
  Block differences;
  ValueSums all;
  const bool exact = a.numbers.kind == b.numbers.kind &&
                     (a.numbers.kind == Kind::Int64 || a.numbers.kind == Kind::Uint64);
  for (std::uint64_t done = 0; done < count; done += kBlockElements) {
    const std::size_t some = std::min<std::uint64_t>(kBlockElements, count - done);
    const std::byte* const bytes_of_a = a.bytes + bytes_of(a.numbers, done);
    const std::byte* const bytes_of_b = b.bytes + bytes_of(b.numbers, done);
    a.numbers.decode(a.numbers, bytes_of_a, some, of_a.data());
    b.numbers.decode(b.numbers, bytes_of_b, some, of_b.data());
    if (exact && a.numbers.kind == Kind::Int64)
      subtract<std::int64_t>(bytes_of_a, bytes_of_b, some, differences.data());
    else if (exact)
      subtract<std::uint64_t>(bytes_of_a, bytes_of_b, some, differences.data());
    all.add(
        a.numbers.kind == Kind::Complex
            ? compare_complex(of_a.data(), of_b.data(), some)
            : compare_real(of_a.data(), of_b.data(), exact ? differences.data() : nullptr, some));
  }
  return all;
}

ValueDifference difference_of(const ValueSums& sums, std::uint64_t element_count) noexcept {
  ValueDifference values{element_count, sums.changed_count, sums.not_finite_count, sums.max_abs,
                         sums.max_rel};
  const double larger = std::sqrt(std::max(sums.aa, sums.bb));
  values.norm_rel = larger == 0 ? 0 : std::sqrt(sums.dd) / larger;
  const double norms = std::sqrt(sums.aa) * std::sqrt(sums.bb);
  if (norms != 0)
    values.cosine = std::clamp(sums.ab / norms, -1.0, 1.0);
  else
    values.cosine = sums.aa == sums.bb ? 1 : 0;
  return values;
}

}  // namespace cairn::internal
