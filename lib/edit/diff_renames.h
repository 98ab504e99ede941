#pragma once

// Content hashes that the indexes do not have, and the tensors that they show to be renamed.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "cairn/exec_options.h"
#include "cairn/tensor.h"
#include "lib/edit/diff_indexes.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// The content hashes of a checkpoint's tensors: from the index, else computed.
class ContentHashes {
 public:
  explicit ContentHashes(const OpenCheckpoint& checkpoint) : checkpoint_(checkpoint) {}

  // Whether compute() can give it a hash: not of strings and variants.
  bool can_compute(std::size_t position) const noexcept;

  // Computes it later, if the index does not have it.
  void want(std::size_t position);
  std::uint64_t wanted_bytes() const noexcept { return wanted_bytes_; }

  // Reads the wanted tensors. Errors: Corrupt (damage), Io, Cancelled; Unsupported (index_only).
  Result<void> compute(const ExecOptions& exec);

  std::optional<Digest128> of(std::size_t position) const;

 private:
  const OpenCheckpoint& checkpoint_;
  std::vector<std::size_t> wanted_;
  std::uint64_t wanted_bytes_ = 0;
  std::unordered_map<std::size_t, Digest128> computed_;
};

// Wants the hashes of removed and added tensors that have a counterpart of the same dtype and
// shape.
void want_rename_hashes(const OpenCheckpoint& a, const OpenCheckpoint& b, const IndexDiff& found,
                        ContentHashes& of_a, ContentHashes& of_b);

// Takes the tensors that were renamed out of found.removed and found.added.
std::vector<DiffPair> take_renamed(const OpenCheckpoint& a, const OpenCheckpoint& b,
                                   const ContentHashes& of_a, const ContentHashes& of_b,
                                   IndexDiff& found);

}  // namespace cairn::internal
