#pragma once

// The bytes of tensors, read and checked, as a target stores them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "cairn/convert.h"
#include "cairn/error.h"
#include "lib/edit/outgoing.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// Takes the bytes of one tensor, block after block.
using Sink = std::function<Result<void>(std::span<const std::byte>)>;

// The tensor's bytes, little-endian and row-major. What lies in one native piece is summed on the
// way.
Result<void> stream_tensor(const OpenCheckpoint& source, std::size_t position, const Sink& sink);

// Takes the bytes of tensors[i] that begin at `at_bytes`. Those of one tensor come from one thread,
// in order; several tensors may come at once.
using BlockSink = std::function<Result<void>(std::size_t i, std::uint64_t at_bytes,
                                             std::span<const std::byte> block)>;

// Gives `sink` every byte of these tensors. Errors: Corrupt (damage), Io, Cancelled, those of the
// sink.
Result<void> stream_tensors(const OpenCheckpoint& source, std::span<const OutgoingTensor> tensors,
                            const TransferOptions& options, const BlockSink& sink);

}  // namespace cairn::internal
