#pragma once

#include <compare>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <utility>

#include "cairn/tensor.h"

namespace cairn {

// A position among the tensors of a checkpoint. It gives Tensors by value: a Tensor is a handle and
// costs as much as a pointer. It works with the algorithms and views of std::ranges as a
// random-access iterator. Lifetime: as long as a copy of the Checkpoint lives. Threads: as a
// pointer.
class TensorIterator {
 public:
  using iterator_concept = std::random_access_iterator_tag;
  using iterator_category = std::input_iterator_tag;  // older algorithms want references
  using value_type = Tensor;
  using difference_type = std::ptrdiff_t;
  using reference = Tensor;
  using pointer = void;

  TensorIterator() noexcept = default;

  Tensor operator*() const noexcept { return Tensor(owner_, position_); }
  Tensor operator[](difference_type n) const noexcept { return *(*this + n); }

  TensorIterator& operator+=(difference_type n) noexcept {
    position_ += static_cast<std::size_t>(n);
    return *this;
  }
  TensorIterator& operator-=(difference_type n) noexcept { return *this += -n; }
  TensorIterator& operator++() noexcept { return *this += 1; }
  TensorIterator& operator--() noexcept { return *this += -1; }
  TensorIterator operator++(int) noexcept { return std::exchange(*this, *this + 1); }
  TensorIterator operator--(int) noexcept { return std::exchange(*this, *this - 1); }

  friend TensorIterator operator+(TensorIterator at, difference_type n) noexcept { return at += n; }
  friend TensorIterator operator+(difference_type n, TensorIterator at) noexcept { return at += n; }
  friend TensorIterator operator-(TensorIterator at, difference_type n) noexcept { return at -= n; }
  friend difference_type operator-(TensorIterator a, TensorIterator b) noexcept {
    return static_cast<difference_type>(a.position_ - b.position_);
  }
  friend bool operator==(TensorIterator a, TensorIterator b) noexcept {
    return a.position_ == b.position_;
  }
  friend std::strong_ordering operator<=>(TensorIterator a, TensorIterator b) noexcept {
    return a.position_ <=> b.position_;
  }

 private:
  friend class Checkpoint;
  TensorIterator(const internal::OpenCheckpoint* owner, std::size_t position) noexcept
      : owner_(owner), position_(position) {}

  const internal::OpenCheckpoint* owner_ = nullptr;
  std::size_t position_ = 0;
};

// Some tensors of a checkpoint, in the bytewise order of their names.
using TensorRange = std::ranges::subrange<TensorIterator>;

}  // namespace cairn
