#pragma once

// Many tensors whose bytes are in memory, brought into their shards at once.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "lib/write/shard_writer.h"

namespace cairn::internal {

// A raw tensor with all its bytes; `sums` is what comes back.
struct TensorWrite {
  std::size_t tensor = 0;
  std::span<const std::byte> bytes;
  Sums sums;
};

// A stretch of one shard that is written in one call: the loads from `first` on, the first without
// its first `skip_bytes`. Those in [begins, ends) have their first byte in it.
struct Block {
  std::uint32_t shard = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::size_t first = 0;
  std::uint64_t skip_bytes = 0;
  std::size_t begins = 0;
  std::size_t ends = 0;
};

// Cuts loads that stand by shard and place into blocks: at multiples of kWriteBlockBytes in the
// file, and where there is a gap.
inline constexpr std::uint64_t kWriteBlockBytes = 4u << 20;
std::vector<Block> cut_into_blocks(const Layout& layout, std::span<const TensorWrite> writes);

// Writes and sums the loads, and sorts them by place. Nothing says which bytes were written when it
// fails. Errors: NoSpace, Io, Cancelled; OutOfMemory (no write failed: the same call may be made
// again). Threads: below kWriteBlockBytes in all the caller's alone, else
// up to four. Memory: 64 bytes a block, and a block of kWriteBlockBytes if there are small tensors;
// their bytes are copied once more, all others into the page cache only.
// `idle_max`: as in os::ThreadGroupOptions.
Result<void> write_batch(const ShardWriter& shards, std::span<TensorWrite> writes,
                         const ExecOptions& exec, std::chrono::milliseconds idle_max);

}  // namespace cairn::internal
