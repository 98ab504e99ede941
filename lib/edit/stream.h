#pragma once

// The bytes of tensors, read and checked, as a target stores them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "cairn/convert.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "lib/edit/outgoing.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

struct StreamRequest {
  const OpenCheckpoint& source;
  std::span<const OutgoingTensor> tensors;
  const ExecOptions& exec;
  std::span<CastCounts> casts;  // the rows of apply_casts(); the counts of values are added to them
};

// Takes the bytes of tensors[i] that begin at `at_bytes`. Those of one tensor come from one thread,
// in order; several tensors may come at once.
using BlockSink = std::function<Result<void>(std::size_t i, std::uint64_t at_bytes,
                                             std::span<const std::byte> block)>;

// Gives `sink` every byte of these tensors, little-endian, row-major and in their new dtypes. None
// is a string or variant tensor. Every stored checksum is compared. Errors: Corrupt (damage), Io,
// Cancelled, those of the sink. Threads: as `exec` says, six at most; the largest tensors come
// first, so that no thread is alone with one at the end. Memory: two blocks of kWriteBlockBytes for
// each thread.
Result<void> stream_tensors(const StreamRequest& request, const BlockSink& sink);

}  // namespace cairn::internal
