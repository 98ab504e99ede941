#pragma once

// Work on several cores that ends before the call returns.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "cairn/error.h"
#include "cairn/exec_options.h"

namespace cairn::os {

// How many threads `exec` may use: its own limit, the affinity mask, the cgroup's CPU quota; at
// least 1.
unsigned thread_count(const ExecOptions& exec) noexcept;

// The same work as a part of more: its progress goes on from `whole.done_bytes`, of
// `whole.total_bytes`. `exec` must outlive it.
ExecOptions part_of(const ExecOptions& exec, const Progress& whole);

// Cancelled: the caller has asked for it.
Result<void> unless_stopped(const std::stop_token& stop);

// Runs task(0) … task(count − 1), each once, in any order, on the calling thread and up to
// thread_count − 1 others, or as many tasks of exec.executor; a thread that the system or the
// executor refuses is work done by the others. A task
// returns the bytes it has done, of `total_bytes` in all, for the progress. After the first error
// no further task starts. Errors: that of a task; Cancelled.
Result<void> run_parallel(const ExecOptions& exec, std::size_t count, std::uint64_t total_bytes,
                          const std::function<Result<std::uint64_t>(std::size_t)>& task);

// What one thread of run_threads takes its work from.
class WorkQueue {
 public:
  // The next number that nobody has; nothing: there is none left, a thread failed, or the caller
  // stopped it all.
  virtual std::optional<std::size_t> next() = 0;
  // For the progress.
  virtual void did(std::uint64_t bytes) = 0;

 protected:
  ~WorkQueue() = default;
};

struct ThreadGroupOptions {
  std::size_t count = 0;  // of the numbers 0 … count − 1 that are given out, in this order
  std::uint64_t total_bytes = 0;
  unsigned threads = 1;
  // Not 0: `threads` threads of our own work in the time of processors and disk that others leave,
  // and the calling thread waits so long before it works too. An executor's threads have the
  // priority that they have.
  std::chrono::milliseconds idle_max{0};
};

// The same where a thread works on several numbers at a time: runs `body` once on each of
// `options.threads` threads at most, the calling one among them (with `idle_max` beside them).
Result<void> run_threads(const ExecOptions& exec, const ThreadGroupOptions& options,
                         const std::function<Result<void>(WorkQueue&)>& body);

}  // namespace cairn::os
