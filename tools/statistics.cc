// Elements go into blocks, and each block has a count, a mean and a sum of squares around it, which
// are put together in the order of the blocks. So threads do not change the result, and a mean that
// is large beside the deviation does not drown it, as in a sum of squares.

#include "statistics.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "cairn/dequantize.h"
#include "element.h"
#include "narrow_float.h"
#include "packed.h"

namespace cairn::tools {
namespace {

constexpr std::size_t kBlockElements = std::size_t{1} << 16;

// Of one block; `at` counts from the tensor's first element.
struct Block {
  std::uint64_t zeros = 0;
  std::uint64_t nans = 0;
  std::uint64_t infinities = 0;
  std::uint64_t finite = 0;
  double mean = 0;
  double squares = 0;  // the sum of (x - mean)²
  std::size_t least_at = 0;
  std::size_t most_at = 0;
  long double least = 0;  // holds integers of 64 bits exactly
  long double most = 0;
};

// The elements of a tensor, one after another in memory.
struct Elements {
  DType dtype{};
  std::span<const std::byte> bytes;
  double scale = 1;  // by which the mean and the squares of float64 are multiplied
};

// A power of two, with which no sum of float64 overflows.
constexpr double kSmallScale = 0x1p-600;

template <class T>
bool is_nan(T value) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(value);
  return false;
}

template <class T>
bool is_finite(T value) {
  if constexpr (std::is_floating_point_v<T>) return std::isfinite(value);
  return true;
}

// `value_at(i)` is element i, in a type that compares exactly.
template <class ValueAt>
Block scan(std::size_t begin, std::size_t end, const ValueAt& value_at, double scale = 1) {
  using Value = decltype(value_at(begin));
  Block block;
  Value least{};
  Value most{};
  double sum = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const Value value = value_at(i);
    if (!is_finite(value)) {
      ++(is_nan(value) ? block.nans : block.infinities);
      continue;
    }
    if (value == Value{}) ++block.zeros;
    sum += static_cast<double>(value) * scale;
    if (block.finite == 0 || value < least) {
      least = value;
      block.least_at = i;
    }
    if (block.finite == 0 || value > most) {
      most = value;
      block.most_at = i;
    }
    ++block.finite;
  }
  if (block.finite == 0) return block;
  block.least = static_cast<long double>(least);
  block.most = static_cast<long double>(most);
  block.mean = sum / static_cast<double>(block.finite);
  for (std::size_t i = begin; i < end; ++i) {
    const Value value = value_at(i);
    if (!is_finite(value)) continue;
    const double off = static_cast<double>(value) * scale - block.mean;
    block.squares += off * off;
  }
  return block;
}

template <class T>
Block scan_native(const Elements& elements, std::size_t begin, std::size_t end) {
  const auto value_at = [data = elements.bytes.data()](std::size_t i) {
    T value;
    std::memcpy(&value, data + i * sizeof value, sizeof value);
    return value;
  };
  return scan(begin, end, value_at, elements.scale);
}

// Every value of a narrow float, by its bits.
std::vector<double> values_of(DType dtype, unsigned bits) {
  const NarrowFloat type = narrow_float(dtype);
  const unsigned sign = type.sign();
  std::vector<double> values(std::size_t{1} << bits);
  for (unsigned i = 0; i < values.size(); ++i) {
    const double value = magnitude(type, i & (sign - 1));
    const bool is_nan =
        type.specials == NarrowFloat::Specials::NegativeZero && (i & (2 * sign - 1)) == sign;
    values[i] = is_nan ? std::nan("") : (i & sign) != 0 ? -value : value;
  }
  return values;
}

// Of int4 and the like, which have a byte each: the low bits, with or without a sign.
template <int kBits, bool kSigned>
Block scan_nibbles(const Elements& elements, std::size_t begin, std::size_t end) {
  return scan(begin, end, [data = elements.bytes.data()](std::size_t i) {
    const auto low = static_cast<int>(data[i]) & ((1 << kBits) - 1);
    return kSigned && low >= 1 << (kBits - 1) ? low - (1 << kBits) : low;
  });
}

using Scan = std::function<Block(std::size_t begin, std::size_t end)>;

template <class T>
Scan native_scan(const Elements& elements) {
  return [elements](std::size_t begin, std::size_t end) {
    return scan_native<T>(elements, begin, end);
  };
}

Scan narrow_scan(const Elements& elements) {
  const bool wide = element_bytes(elements.dtype) == 2;
  auto values = std::make_shared<std::vector<double>>(values_of(elements.dtype, wide ? 16 : 8));
  return [elements, values, wide](std::size_t begin, std::size_t end) {
    const std::byte* const data = elements.bytes.data();
    if (!wide)
      return scan(begin, end,
                  [&](std::size_t i) { return (*values)[std::to_integer<std::uint8_t>(data[i])]; });
    return scan(begin, end, [&](std::size_t i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, data + 2 * i, sizeof bits);
      return (*values)[bits];
    });
  };
}

// Empty: the dtype has no real numbers.
Scan scan_of(const Elements& elements) {
  switch (elements.dtype) {
    case DType::Float32:
      return native_scan<float>(elements);
    case DType::Float64:
      return native_scan<double>(elements);
    case DType::Int8:
    case DType::Qint8:
      return native_scan<std::int8_t>(elements);
    case DType::Int16:
    case DType::Qint16:
      return native_scan<std::int16_t>(elements);
    case DType::Int32:
    case DType::Qint32:
      return native_scan<std::int32_t>(elements);
    case DType::Int64:
      return native_scan<std::int64_t>(elements);
    case DType::Uint8:
    case DType::Quint8:
    case DType::Bool:
      return native_scan<std::uint8_t>(elements);
    case DType::Uint16:
    case DType::Quint16:
      return native_scan<std::uint16_t>(elements);
    case DType::Uint32:
      return native_scan<std::uint32_t>(elements);
    case DType::Uint64:
      return native_scan<std::uint64_t>(elements);
    case DType::Int4:
      return [elements](std::size_t b, std::size_t e) {
        return scan_nibbles<4, true>(elements, b, e);
      };
    case DType::Uint4:
      return [elements](std::size_t b, std::size_t e) {
        return scan_nibbles<4, false>(elements, b, e);
      };
    case DType::Int2:
      return [elements](std::size_t b, std::size_t e) {
        return scan_nibbles<2, true>(elements, b, e);
      };
    case DType::Uint2:
      return [elements](std::size_t b, std::size_t e) {
        return scan_nibbles<2, false>(elements, b, e);
      };
    default:
      return narrow_float(elements.dtype).exponent_bits == 0 ? Scan() : narrow_scan(elements);
  }
}

Statistics joined(const Elements& elements, const std::vector<Block>& blocks) {
  const std::size_t width = element_bytes(elements.dtype);
  Statistics all;
  all.count = elements.bytes.size() / width;
  std::uint64_t finite = 0;
  double mean = 0;
  double squares = 0;
  Block ends;
  for (const Block& block : blocks) {
    all.zeros += block.zeros;
    all.nans += block.nans;
    all.infinities += block.infinities;
    if (block.finite == 0) continue;
    if (finite == 0 || block.least < ends.least) {
      ends.least = block.least;
      ends.least_at = block.least_at;
    }
    if (finite == 0 || block.most > ends.most) {
      ends.most = block.most;
      ends.most_at = block.most_at;
    }
    const double off = block.mean - mean;
    const auto before = static_cast<double>(finite);
    finite += block.finite;
    const double share = static_cast<double>(block.finite) / static_cast<double>(finite);
    mean += off * share;
    squares += block.squares + off * off * before * share;
  }
  if (finite == 0) return all;
  all.mean = mean;
  all.deviation = std::sqrt(squares / static_cast<double>(finite));
  all.least = static_cast<double>(ends.least);
  all.most = static_cast<double>(ends.most);
  append_element(all.least_text, elements.dtype, elements.bytes.data() + ends.least_at * width);
  append_element(all.most_text, elements.dtype, elements.bytes.data() + ends.most_at * width);
  return all;
}

Statistics scaled_statistics_of(const Elements& elements, unsigned threads) {
  const Scan scan = scan_of(elements);
  const std::size_t count = elements.bytes.size() / element_bytes(elements.dtype);
  std::vector<Block> blocks((count + kBlockElements - 1) / kBlockElements);
  for_each_parallel(blocks.size(), threads, [&](std::size_t i) {
    blocks[i] = scan(i * kBlockElements, std::min(count, (i + 1) * kBlockElements));
  });
  return joined(elements, blocks);
}

// Sums of large float64 overflow, although their mean and their deviation do not.
Statistics statistics_of(const Elements& elements, unsigned threads) {
  Statistics all = scaled_statistics_of(elements, threads);
  if (!all.mean || (std::isfinite(*all.mean) && std::isfinite(all.deviation))) return all;
  all = scaled_statistics_of({elements.dtype, elements.bytes, kSmallScale}, threads);
  // Rounding must not carry them over the greatest number.
  all.mean = std::clamp(*all.mean / kSmallScale, all.least, all.most);
  all.deviation = std::min(all.deviation / kSmallScale, all.most / 2 - all.least / 2);
  return all;
}

}  // namespace

bool has_statistics(const Tensor& tensor) {
  return can_dequantize(tensor) || unpacked_dtype(tensor) ||
         static_cast<bool>(scan_of({tensor.dtype(), {}}));
}

Result<Statistics> statistics_of(const Tensor& tensor, unsigned threads) {
  if (can_dequantize(tensor)) {
    const auto values = dequantize(tensor);
    if (!values) return values.error();
    return statistics_of({DType::Float32, std::as_bytes(std::span(*values))}, threads);
  }
  if (const auto dtype = unpacked_dtype(tensor)) {
    const auto elements = unpacked(tensor);
    if (!elements) return elements.error();
    return statistics_of({*dtype, *elements}, threads);
  }
  const auto mapped = tensor.bytes();
  if (mapped) return statistics_of({tensor.dtype(), *mapped}, threads);
  if (mapped.error().code != Code::Unsupported) return mapped.error();
  const auto size = tensor.read_bytes();
  if (!size) return size.error();
  std::vector<std::byte> copy(*size);
  const auto done = tensor.read(copy);
  if (!done) return done.error();
  return statistics_of({tensor.dtype(), copy}, threads);
}

void for_each_parallel(std::size_t count, unsigned threads,
                       const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::exception_ptr thrown;
  std::mutex guard;
  const auto run = [&] {
    try {
      for (std::size_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      const std::lock_guard lock(guard);
      thrown = std::current_exception();
      next = count;
    }
  };
  std::vector<std::thread> others;
  const std::size_t wanted = std::min<std::size_t>(threads, count);
  for (std::size_t i = 1; i < wanted; ++i) others.emplace_back(run);
  run();
  for (std::thread& other : others) other.join();
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace cairn::tools
