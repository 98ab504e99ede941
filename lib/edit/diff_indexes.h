#pragma once

// What the indexes of two checkpoints say about the difference.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cairn/diff.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// A tensor of each of two checkpoints, by their positions.
struct DiffPair {
  std::size_t a = 0;
  std::size_t b = 0;
};

struct ChangedPair {
  DiffPair pair;
  Change change{};
};

struct IndexDiff {
  std::vector<std::size_t> removed;  // of A, ascending, as all of these
  std::vector<std::size_t> added;    // of B
  std::vector<ChangedPair> changed;  // DType, Shape, Content
  std::vector<DiffPair> undecided;   // the same dtype and shape; the indexes do not say more
  std::uint64_t equal_count = 0;
  std::uint64_t equal_by_checksum_count = 0;
};

// Errors: Io (a file cannot be asked which one it is).
Result<IndexDiff> diff_indexes(const OpenCheckpoint& a, const OpenCheckpoint& b,
                               bool trust_checksums);

// Whether both have the same dtype, with the same layout of elements.
bool is_same_dtype(const format::IndexView::Tensor& a, const format::IndexView::Tensor& b) noexcept;

}  // namespace cairn::internal
