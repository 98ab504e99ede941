#pragma once

// The one bundle for everything that may take longer than 100 ms.

#include <cstdint>
#include <functional>
#include <stop_token>

namespace cairn {

struct Progress {
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};

struct ExecOptions {
  // 0: what the affinity mask and the cgroup's CPU quota allow; 1: the calling thread alone.
  unsigned threads_max = 0;
  // Once stopped the call returns Cancelled, and nothing half-published stays.
  std::stop_token stop;
  // Called by the calling thread only, at most 10 times a second.
  std::function<void(const Progress&)> progress;
};

}  // namespace cairn
