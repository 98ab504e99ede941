#pragma once

// Which tensors of a checkpoint that may be damaged are whole. Every byte is read; nothing is
// written.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/exec_options.h"
#include "cairn/salvage.h"
#include "lib/open/locate.h"
#include "lib/open/recoverable.h"

namespace cairn::internal {

struct SalvageScan {
  Location location;
  Checkpoint checkpoint;           // of what lies within the shards that are there
  std::vector<std::size_t> whole;  // positions in it, ascending
  Salvageable found;
  std::uint64_t pass_bytes = 0;  // of one pass
};

// The progress is that of the first of `passes` passes over the bytes. Errors: those of
// cairn::salvageable.
Result<SalvageScan> examine(RecoverableCheckpoint recoverable, const ExecOptions& exec,
                            unsigned passes);

}  // namespace cairn::internal
