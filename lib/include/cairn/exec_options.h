#pragma once

// The options of every function that may take longer than 100 ms.

#include <cstdint>
#include <functional>
#include <stop_token>

namespace cairn {

struct Progress {
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};

struct ExecOptions {
  // 0: as many as the affinity mask and the CPU quota of the cgroup allow. 1: the calling thread
  // only.
  unsigned threads_max = 0;
  // After a stop request the call returns Cancelled, and leaves nothing half-published.
  std::stop_token stop = {};
  // The calling thread calls it, at most 10 times per second.
  std::function<void(const Progress&)> progress = {};
};

}  // namespace cairn
