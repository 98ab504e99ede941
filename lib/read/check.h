#pragma once

// Comparing everything of a checkpoint that has a sum: in one pass, or in steps, for callers that
// must not read everything at once.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "cairn/exec_options.h"
#include "cairn/verification.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/scan_plan.h"
#include "lib/read/sums.h"

namespace cairn::internal {

struct CheckScope {
  std::function<bool(const Piece&)> known = {};  // pieces that need no check; empty: none
  bool read_unsummed = false;  // read the tensors that have no sum too, so that they are cached
};

class CompleteCheck {
 public:
  // `plan` may have requests already. Both must outlive this object.
  CompleteCheck(const OpenCheckpoint& checkpoint, ScanPlan& plan, ByteSource source)
      : checkpoint_(checkpoint), plan_(plan), source_(source) {}

  // Before the steps. Errors: Corrupt (spans overlap, P.index is damaged), Io.
  Result<void> prepare(const ExecOptions& exec, const CheckScope& scope = {});

  // After prepare(): how many bytes run(), or all steps, will read.
  std::uint64_t total_bytes() const noexcept { return total_bytes_; }

  // All at once. Errors: Io, Cancelled.
  Result<void> run(const ExecOptions& exec);

  // Or the steps 0 … step_count() − 1, as those of ScanPlan; the last ones decode.
  std::size_t window_count() const noexcept { return plan_.window_count(); }
  std::size_t step_count() const noexcept { return plan_.step_count() + members_.size(); }
  Result<std::uint64_t> step(std::size_t number, const ExecOptions& exec,
                             std::span<std::byte> buffer);

  // After either. Known pieces count as checked.
  Verification result();

 private:
  void request(const CheckScope& scope);
  void request_unsummed();
  Result<std::uint64_t> decode(std::size_t member);

  static constexpr std::size_t kKnown = static_cast<std::size_t>(-1);

  const OpenCheckpoint& checkpoint_;
  ScanPlan& plan_;
  ByteSource source_;
  std::vector<Piece> pieces_;
  std::vector<std::size_t> requests_;  // parallel: the number in the plan, or kKnown
  // The members that are decoded on their first use, each with one of its tensors. They have sums
  // of their own, which the decoder compares.
  std::vector<std::pair<std::uint64_t, std::size_t>> members_;
  std::vector<unsigned char> damaged_members_;  // parallel; not vector<bool>: threads write
  std::uint64_t pass_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
};

// All pieces of a checkpoint in the order of its files, shared ones once. Corrupt: spans overlap.
Result<std::vector<Piece>> all_pieces(const OpenCheckpoint& checkpoint);

// The error for damage that a check has found: it names the first range.
Error damage_error(const OpenCheckpoint& checkpoint, const Verification& seen);

}  // namespace cairn::internal
