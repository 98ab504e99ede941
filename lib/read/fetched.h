#pragma once

// Which bytes of a shard have been read into memory, if its file system cannot map it.

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::internal {

class Fetched {
 public:
  // Reads those of these bytes that were not read before. `to` is the place of the byte at
  // `offset_bytes`, the same in every call. A byte that was read is never written again, because
  // other threads may use it. Errors: Io. Threads: any; one reads at a time.
  Result<void> ensure(const os::File& file, std::uint64_t offset_bytes, std::span<std::byte> to);

 private:
  void add(std::uint64_t begin, std::uint64_t size_bytes);

  std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> ranges_;  // begin → end; none touches another
};

}  // namespace cairn::internal
