#pragma once

// A range of a file, block by block.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "lib/os/file.h"
#include "lib/read/shards.h"
#include "lib/try.h"

namespace cairn::internal {

// Reads the range in blocks that fit the processor's cache, each into the same memory, and calls
// `take` with each. Errors: Io; Corrupt: the file ends before.
template <class Take>
Result<void> for_each_block(const os::File& file, std::uint64_t offset_bytes,
                            std::uint64_t size_bytes, const Take& take) {
  const std::uint64_t block_bytes = std::min(kCachedBlockBytes, size_bytes);
  const auto memory = std::make_unique_for_overwrite<std::byte[]>(block_bytes);
  for (std::uint64_t done = 0; done < size_bytes; done += block_bytes) {
    const std::span block(memory.get(), std::min(block_bytes, size_bytes - done));
    CAIRN_CHECK(file.read_at(offset_bytes + done, block));
    take(std::span<const std::byte>(block));
  }
  return {};
}

}  // namespace cairn::internal
