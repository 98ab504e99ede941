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

// Takes a task to run on a thread of the caller's own, for example on a thread pool. It may run the
// task at once and inline, later, or never. false: it refuses the task, and forgets it. An
// exception counts as false.
using Executor = std::function<bool(std::function<void()> task)>;

struct ExecOptions {
  // 0: as many as the affinity mask and the CPU quota of the cgroup allow. 1: the calling thread
  // only.
  unsigned threads_max = 0;
  // After a stop request the call returns Cancelled, and leaves nothing half-published.
  std::stop_token stop = {};
  // The calling thread calls it, at most 10 times per second.
  std::function<void(const Progress&)> progress = {};
  // Empty: a call starts threads and joins them before it returns. Not empty: a call starts no
  // thread. It gives the executor at most threads_max - 1 tasks, one after another, from the
  // calling thread, and works itself at the same time.
  // - The call needs none of its tasks. It waits for a task that has begun, and never for one that
  //   has not. So a call may come from a thread of the executor, also if that is its only one. If
  //   the executor refuses, is busy, or loses tasks, the calling thread does all the work.
  // - A task that begins after the call has returned ends at once. It refers to nothing of the
  //   call, so the executor may keep it or destroy it.
  // - A task takes as long as the whole call, does not throw, and may wait for the disk.
  // A large index is then read by the calling thread alone. Saver::save_async has a thread of its
  // own all the same, which gives the tasks.
  Executor executor = {};
};

}  // namespace cairn
