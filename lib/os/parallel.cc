#include "lib/os/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "lib/os/machine.h"
#include "lib/os/signals.h"
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

// What the threads of one call share.
class Crew {
 public:
  Crew(const Work& work, const Crowd& crowd) : work_(work), crowd_(crowd) {}

  void run(const std::function<Result<void>(Feed&)>& body, bool report) {
    Member member(*this, report);
    if (auto done = at_boundary([&] { return body(member); }); !done) fail(std::move(done).error());
  }

  Result<void> outcome() {
    if (error_) return std::move(*error_);
    if (work_.progress) work_.progress({crowd_.total_bytes, crowd_.total_bytes});
    return {};
  }

 private:
  class Member final : public Feed {
   public:
    Member(Crew& crew, bool report) : crew_(crew), report_(report) {}
    std::optional<std::size_t> next() override { return crew_.next(); }
    void did(std::uint64_t bytes) override {
      crew_.done_bytes_.fetch_add(bytes, std::memory_order_relaxed);
      if (report_) crew_.maybe_report();
    }

   private:
    Crew& crew_;
    bool report_;
  };

  std::optional<std::size_t> next() {
    const std::size_t number = next_.fetch_add(1, std::memory_order_relaxed);
    if (number >= crowd_.count) return std::nullopt;
    const auto going_on = unless_stopped(work_.stop);
    if (going_on) return number;
    fail(going_on.error());
    return std::nullopt;
  }

  void fail(Error error) {
    next_.store(crowd_.count, std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }

  void maybe_report() {
    if (!work_.progress || Clock::now() < next_report_) return;
    next_report_ = Clock::now() + kProgressEvery;
    work_.progress({done_bytes_.load(std::memory_order_relaxed), crowd_.total_bytes});
  }

  const Work& work_;
  const Crowd& crowd_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<std::uint64_t> done_bytes_ = 0;
  Clock::time_point next_report_ = Clock::now() + kProgressEvery;
  std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace

unsigned thread_count(const Work& work) noexcept {
  if (work.threads_max == 1) return 1;
  unsigned count = std::max(1u, affinity_count());
  try {
    if (const auto quota = cpu_quota()) count = std::min(count, *quota);
  } catch (const std::exception&) {
    // Without memory for a file stream the affinity mask alone decides.
  }
  return work.threads_max == 0 ? count : std::min(count, work.threads_max);
}

Result<void> unless_stopped(const std::stop_token& stop) {
  if (!stop.stop_requested()) return {};
  return Error{Code::Cancelled, 0, "cancelled by the caller"};
}

Work part_of(const Work& work, const Progress& whole) {
  Work part = work;
  if (work.progress) {
    part.progress = [&work, whole](const Progress& progress) {
      work.progress({whole.done_bytes + progress.done_bytes, whole.total_bytes});
    };
  }
  return part;
}

Result<void> run_threads(const Work& work, const Crowd& crowd,
                         const std::function<Result<void>(Feed&)>& body) {
  Crew crew(work, crowd);
  {
    std::vector<std::jthread> helpers;  // joined at the end of this block
    helpers.reserve(crowd.threads);
    try {
      const SignalsBlocked blocked;  // in the helpers too
      while (helpers.size() + 1 < crowd.threads)
        helpers.emplace_back([&] { crew.run(body, false); });
    } catch (const std::system_error&) {
      // The system gives no more threads: those that run do the work.
    }
    crew.run(body, true);
  }
  return crew.outcome();
}

Result<void> run_parallel(const Work& work, std::size_t count, std::uint64_t total_bytes,
                          const std::function<Result<std::uint64_t>(std::size_t)>& task) {
  const std::size_t threads = count < 2 ? 1 : std::min<std::size_t>(thread_count(work), count);
  return run_threads(work, {count, total_bytes, static_cast<unsigned>(threads)},
                     [&](Feed& feed) -> Result<void> {
                       while (const auto number = feed.next()) {
                         CAIRN_TRY(done_bytes, task(*number));
                         feed.did(done_bytes);
                       }
                       return {};
                     });
}

}  // namespace cairn::os
