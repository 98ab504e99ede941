#include "lib/os/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "lib/try.h"

namespace cairn::os {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kProgressEvery = std::chrono::milliseconds(100);

unsigned affinity_count() noexcept {
  cpu_set_t cpus;
  // The mask of a machine with more than 1,024 processors does not fit.
  if (::sched_getaffinity(0, sizeof cpus, &cpus) != 0) return std::thread::hardware_concurrency();
  return static_cast<unsigned>(CPU_COUNT(&cpus));
}

// The quota of this process's cgroup (version 2) in whole cores, rounded up; nothing: none is set.
std::optional<unsigned> cgroup_cpus() {
  std::ifstream own("/proc/self/cgroup");
  std::string line;
  while (std::getline(own, line)) {
    if (!line.starts_with("0::")) continue;
    std::ifstream file("/sys/fs/cgroup" + line.substr(3) + "/cpu.max");
    double quota = 0;
    double period = 0;
    if (!(file >> quota >> period) || period <= 0) return std::nullopt;  // "max": no number
    return static_cast<unsigned>(std::max(1.0, (quota + period - 1) / period));
  }
  return std::nullopt;
}

// What the threads of one call share.
class Crew {
 public:
  Crew(const Work& work, std::size_t count,
       const std::function<Result<std::uint64_t>(std::size_t)>& task, std::uint64_t total_bytes)
      : work_(work), count_(count), task_(task), total_bytes_(total_bytes) {}

  void work_on(bool report) {
    for (std::size_t i = next(); i < count_; i = next()) {
      if (work_.stop.stop_requested()) return fail({Code::Cancelled, 0, "cancelled by the caller"});
      auto done = at_boundary([&] { return task_(i); });
      if (!done) return fail(std::move(done).error());
      done_bytes_.fetch_add(*done, std::memory_order_relaxed);
      if (report) maybe_report();
    }
  }

  Result<void> outcome() {
    if (error_) return std::move(*error_);
    if (work_.progress) work_.progress({total_bytes_, total_bytes_});
    return {};
  }

 private:
  std::size_t next() noexcept { return next_.fetch_add(1, std::memory_order_relaxed); }

  void fail(Error error) {
    next_.store(count_, std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }

  void maybe_report() {
    if (!work_.progress || Clock::now() < next_report_) return;
    next_report_ = Clock::now() + kProgressEvery;
    work_.progress({done_bytes_.load(std::memory_order_relaxed), total_bytes_});
  }

  const Work& work_;
  const std::size_t count_;
  const std::function<Result<std::uint64_t>(std::size_t)>& task_;
  const std::uint64_t total_bytes_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<std::uint64_t> done_bytes_ = 0;
  Clock::time_point next_report_ = Clock::now() + kProgressEvery;
  std::mutex mutex_;
  std::optional<Error> error_;
};

// As many helpers as the system gives; the caller works too.
std::vector<std::jthread> helpers_of(Crew& crew, std::size_t wanted) {
  std::vector<std::jthread> helpers;
  helpers.reserve(wanted);
  try {
    while (helpers.size() < wanted) helpers.emplace_back([&crew] { crew.work_on(false); });
  } catch (const std::system_error&) {
    // The system gives no more threads: those that run do the work.
  }
  return helpers;
}

}  // namespace

unsigned thread_count(const Work& work) noexcept {
  if (work.threads_max == 1) return 1;
  unsigned count = std::max(1u, affinity_count());
  try {
    if (const auto quota = cgroup_cpus()) count = std::min(count, *quota);
  } catch (const std::exception&) {
    // Without memory for a file stream the affinity mask alone decides.
  }
  return work.threads_max == 0 ? count : std::min(count, work.threads_max);
}

Result<void> run_parallel(const Work& work, std::size_t count, std::uint64_t total_bytes,
                          const std::function<Result<std::uint64_t>(std::size_t)>& task) {
  Crew crew(work, count, task, total_bytes);
  {
    const std::size_t wanted = count < 2 ? 0 : std::min<std::size_t>(thread_count(work), count) - 1;
    const auto helpers = helpers_of(crew, wanted);  // joined at the end of this block
    crew.work_on(true);
  }
  return crew.outcome();
}

}  // namespace cairn::os
