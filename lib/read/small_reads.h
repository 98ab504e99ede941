#pragma once

// Very many small tensors at once: what most of such a call costs elsewhere is its plan.

#include <span>

#include "cairn/checkpoint.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// Does the requests if each is for a whole, small, row-major tensor, and they come in the order of
// the files, without an overlap. Otherwise returns false and has read nothing. Errors: Corrupt (of
// several damaged tensors the first), Io, Cancelled. Memory: 4 bytes for each request, 48 for each
// block, and one block for each thread.
Result<bool> read_small(const OpenCheckpoint& checkpoint, std::span<const Read> reads,
                        const ExecOptions& exec, const ReaderPartition& partition);

}  // namespace cairn::internal
