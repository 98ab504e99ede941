#pragma once

// Work on several cores that ends before the call returns.

#include <cstddef>
#include <cstdint>
#include <functional>

#include "cairn/error.h"
#include "cairn/work.h"

namespace cairn::os {

// How many threads `work` may use: its own limit, the affinity mask, the cgroup's CPU quota; at
// least 1.
unsigned thread_count(const Work& work) noexcept;

// Runs task(0) … task(count − 1), each once, in any order, on the calling thread and up to
// thread_count − 1 others; a thread that the system refuses is work done by the others. A task
// returns the bytes it has done, of `total_bytes` in all, for the progress. After the first error
// no further task starts. Errors: that of a task; Cancelled.
Result<void> run_parallel(const Work& work, std::size_t count, std::uint64_t total_bytes,
                          const std::function<Result<std::uint64_t>(std::size_t)>& task);

}  // namespace cairn::os
