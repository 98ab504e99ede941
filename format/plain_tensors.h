#pragma once

// The tensors of another format's index, if all of them are plain, as in nearly all checkpoints.
// Plain means: raw or in TensorFlow's own encoding of strings and variants, row-major, not
// partitioned, of a dtype that has a number (FORMAT.md, "Dtypes"). They are stored as columns, as
// in Cairn's index, and an IndexView uses these columns without another copy. The alternative,
// TensorFacts, takes 30 MB and 100,000 allocations or more for 100,000 tensors, which is five times
// the work of decoding them. docs/decisions/0019.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "cairn/dtype.h"
#include "format/facts.h"

namespace cairn::format {

// One tensor, with the fields of TensorRecord in format/cairn/index.fbs.
struct TensorRecord {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint32_t shard = 0;
  std::uint32_t crc32c = 0;
  std::uint32_t name_end = 0;
  std::uint32_t dims_end = 0;
  std::uint32_t chunks_end = 0;
  std::uint32_t slices_end = 0;
  std::uint16_t dtype = 0;
  std::uint16_t bits = 0;
  std::uint8_t encoding = 0;
  std::uint8_t flags = 0;
  std::uint16_t zero = 0;
  friend bool operator==(const TensorRecord&, const TensorRecord&) = default;
};

class PlainTensors {
 public:
  // How much memory to allocate at first. It is one allocation, and its pages are touched only when
  // they are used. If more is added, it grows.
  struct Sizes {
    std::size_t tensors = 0;
    std::size_t names_bytes = 0;
    std::size_t dims = 0;
  };
  PlainTensors() = default;
  explicit PlainTensors(const Sizes& room);

  // The caller makes sure that each column has fewer than 2^32 elements: its ends have 32 bits.
  void add(std::string_view name, DType dtype, std::span<const std::int64_t> shape,
           const Span& span) {
    append(name, shape,
           {.offset_bytes = span.offset_bytes,
            .size_bytes = span.size_bytes,
            .shard = span.shard,
            .crc32c = span.crc32c.value_or(0),
            .dtype = static_cast<std::uint16_t>(dtype),
            .bits = static_cast<std::uint16_t>(8 * element_bytes(dtype)),
            .encoding = static_cast<std::uint8_t>(encoding_of(dtype)),
            .flags = static_cast<std::uint8_t>(span.crc32c ? 1 : 0)});
  }
  // Adds a copy of one tensor of `from`.
  void add(const PlainTensors& from, std::size_t position) {
    append(from.name(position), from.shape(position), from.records_[position]);
  }

  std::size_t size() const noexcept { return used_.tensors; }
  const Sizes& used() const noexcept { return used_; }
  std::span<TensorRecord> records() noexcept { return {records_, used_.tensors}; }
  std::span<const TensorRecord> records() const noexcept { return {records_, used_.tensors}; }
  std::string_view names() const noexcept { return {names_, used_.names_bytes}; }
  std::span<const std::int64_t> dims() const noexcept { return {dims_, used_.dims}; }

  std::string_view name(std::size_t position) const noexcept {
    const std::size_t begin = position == 0 ? 0 : records_[position - 1].name_end;
    return {names_ + begin, records_[position].name_end - begin};
  }
  std::span<const std::int64_t> shape(std::size_t position) const noexcept {
    const std::size_t begin = position == 0 ? 0 : records_[position - 1].dims_end;
    return {dims_ + begin, records_[position].dims_end - begin};
  }

 private:
  void append(std::string_view name, std::span<const std::int64_t> shape, TensorRecord record) {
    const Sizes sizes{used_.tensors + 1, used_.names_bytes + name.size(),
                      used_.dims + shape.size()};
    if (sizes.tensors > room_.tensors || sizes.names_bytes > room_.names_bytes ||
        sizes.dims > room_.dims) {
      grow(sizes);
    }
    // Not std::ranges::copy, which gcc 12 makes a loop over single elements at -O2.
    std::copy(name.begin(), name.end(), names_ + used_.names_bytes);
    std::copy(shape.begin(), shape.end(), dims_ + used_.dims);
    record.name_end = static_cast<std::uint32_t>(sizes.names_bytes);
    record.dims_end = static_cast<std::uint32_t>(sizes.dims);
    records_[used_.tensors] = record;
    used_ = sizes;
  }
  void grow(const Sizes& least);

  std::unique_ptr<std::byte[]> memory_;
  TensorRecord* records_ = nullptr;  // the three columns lie in `memory_`
  std::int64_t* dims_ = nullptr;
  char* names_ = nullptr;
  Sizes room_;
  Sizes used_;
};

}  // namespace cairn::format
