#pragma once

// How a tensor that cannot be read from one place in one go is cut into slices, in row-major order.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/tensor.h"

namespace cairn::internal {

// The slices, one after another, of a tensor that has elements. Each has at most `block_elements`
// elements, or is a single element.
class Cut {
 public:
  Cut(std::span<const std::int64_t> shape, std::uint64_t element_count,
      std::uint64_t block_elements)
      : shape_(shape), row_elements_(element_count) {
    for (std::size_t d = 0; d < shape.size(); ++d) {
      dimension_ = d;
      row_elements_ /= static_cast<std::uint64_t>(shape[d]);
      if (row_elements_ <= block_elements) break;
    }
    for (std::size_t d = 0; d < shape.size(); ++d)
      slice_.push_back({0, d < dimension_ ? 1 : shape[d]});
    rows_ = shape.empty() ? 1 : shape[dimension_];
    rows_at_once_ = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(block_elements / std::max<std::uint64_t>(1, row_elements_)));
    take(0);
  }

  Slice slice() const noexcept { return slice_; }
  std::uint64_t slice_elements() const noexcept {
    return static_cast<std::uint64_t>(count_) * row_elements_;
  }

  // Goes on to the next slice; false: there is none.
  bool next() {
    if (row_ + count_ < rows_) return take(row_ + count_);
    for (std::size_t d = dimension_; d-- > 0;) {
      if (++slice_[d].start < shape_[d]) return take(0);
      slice_[d].start = 0;
    }
    return false;
  }

 private:
  bool take(std::int64_t row) {
    row_ = row;
    count_ = std::min(rows_at_once_, rows_ - row);
    if (!slice_.empty()) slice_[dimension_] = {row_, count_};
    return true;
  }

  std::span<const std::int64_t> shape_;
  std::vector<Range> slice_;
  std::size_t dimension_ = 0;       // cut into ranges; those before it into single indices
  std::uint64_t row_elements_ = 0;  // of one index of it
  std::int64_t rows_ = 1;           // indices of it
  std::int64_t rows_at_once_ = 1;
  std::int64_t row_ = 0;  // those of the slice
  std::int64_t count_ = 1;
};

}  // namespace cairn::internal
