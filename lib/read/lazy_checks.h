#pragma once

// Which bytes of a checkpoint have been compared with their sums, and the comparison of the others
// on their first use.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "cairn/error.h"
#include "format/cairn/index.h"

namespace cairn::internal {

class OpenCheckpoint;
struct StoredPart;

// One flag for each tensor, chunk and slice: what was checked is never checked again. Threads: any;
// two threads that come at the same time both check.
class LazyChecks {
 public:
  // If not `wanted`, everything counts as checked.
  LazyChecks(const OpenCheckpoint& checkpoint, bool wanted);

  // Compares the tensor, or the chunks or the slice that hold `part`, with their stored sums,
  // unless that was done before. Corrupt: the message names what differs.
  Result<void> ensure(std::size_t position) const {
    if (is_checked(position)) return {};
    return check(position);
  }
  Result<void> ensure(std::size_t position, const StoredPart& part) const {
    if (is_checked(position)) return {};
    return check(position, part);
  }

  // Corrupt: slices of the tensor overlap.
  Result<void> ensure_disjoint(std::size_t position) const;

  bool is_checked(std::size_t position) const noexcept {
    return !wanted_ || is_set(tensors_[position]);
  }
  void mark_checked(std::size_t position) const noexcept { set(tensors_[position]); }

  // The flags, for code that compares many sums in one pass. Slices and chunks are numbered through
  // the whole index.
  using Flag = std::atomic<bool>;
  Flag& of_tensor(std::size_t position) const noexcept { return tensors_[position]; }
  Flag& of_slice(std::uint32_t slice) const noexcept { return slices_[slice]; }
  Flag& of_chunk(std::uint32_t chunk) const noexcept { return chunks_[chunk]; }
  static bool is_set(const Flag& flag) noexcept { return flag.load(std::memory_order_acquire); }
  static void set(Flag& flag) noexcept { flag.store(true, std::memory_order_release); }

 private:
  Result<void> check(std::size_t position) const;
  Result<void> check(std::size_t position, const StoredPart& part) const;
  Result<void> ensure_slice(std::size_t position, std::uint32_t slice) const;
  Result<void> ensure_chunk(std::size_t position, std::uint32_t chunk) const;

  const OpenCheckpoint& checkpoint_;
  bool wanted_;
  std::unique_ptr<Flag[]> tensors_;
  std::unique_ptr<Flag[]> chunks_;
  std::unique_ptr<Flag[]> slices_;
  std::unique_ptr<Flag[]> disjoint_;  // at a tensor's first slice: they do not overlap
};

}  // namespace cairn::internal
