// The calling thread never needs the others: they take numbers from the same queue, and it leaves
// when the queue is empty and nobody is at work. Threads of our own are joined. An executor's tasks
// may begin late or never, so each asks at a gate whether the call is still there (Gate), and
// nobody waits for one that has not passed it.
//
// In idle time (ThreadGroupOptions::idle_max) only the helpers have the low priority, because a
// thread without privileges cannot leave it: the caller, who may hold locks, keeps its own, and
// brings the work to its end where others leave no time.

#include "lib/os/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "lib/os/idle_thread.h"
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
class ThreadGroup {
 public:
  ThreadGroup(const ExecOptions& exec, const ThreadGroupOptions& options)
      : exec_(exec), crowd_(options) {}

  void run(const std::function<Result<void>(WorkQueue&)>& body, bool report) {
    QueueOfThread member(*this, report);
    if (auto done = at_boundary([&] { return body(member); }); !done) fail(std::move(done).error());
  }

  Result<void> outcome() {
    if (error_) return std::move(*error_);
    if (exec_.progress) exec_.progress({crowd_.total_bytes, crowd_.total_bytes});
    return {};
  }

  bool has_work() const noexcept { return next_.load(std::memory_order_relaxed) < crowd_.count; }

 private:
  class QueueOfThread final : public WorkQueue {
   public:
    QueueOfThread(ThreadGroup& group, bool report) : crew_(group), report_(report) {}
    std::optional<std::size_t> next() override { return crew_.next(); }
    void did(std::uint64_t bytes) override {
      crew_.done_bytes_.fetch_add(bytes, std::memory_order_relaxed);
      if (report_) crew_.maybe_report();
    }

   private:
    ThreadGroup& crew_;
    bool report_;
  };

  std::optional<std::size_t> next() {
    const std::size_t number = next_.fetch_add(1, std::memory_order_relaxed);
    if (number >= crowd_.count) return std::nullopt;
    const auto going_on = unless_stopped(exec_.stop);
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
    if (!exec_.progress || Clock::now() < next_report_) return;
    next_report_ = Clock::now() + kProgressEvery;
    exec_.progress({done_bytes_.load(std::memory_order_relaxed), crowd_.total_bytes});
  }

  const ExecOptions& exec_;
  const ThreadGroupOptions& crowd_;
  std::atomic<std::size_t> next_ = 0;
  std::atomic<std::uint64_t> done_bytes_ = 0;
  Clock::time_point next_report_ = Clock::now() + kProgressEvery;
  std::mutex mutex_;
  std::optional<Error> error_;
};

// What an executor's tasks pass into a call. It outlives both.
class Gate {
 public:
  // false: the call has returned, and nothing of it may be touched.
  bool enter() noexcept {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    ++inside_;
    return true;
  }

  void leave() noexcept {
    const std::lock_guard lock(mutex_);
    if (--inside_ == 0) left_.notify_all();
  }

  // Lets nobody in any more, and waits for those inside.
  void close() noexcept {
    std::unique_lock lock(mutex_);
    closed_ = true;
    left_.wait(lock, [this] { return inside_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  unsigned inside_ = 0;
  bool closed_ = false;
};

// Offers the executor a task for each other thread, as long as there is work and it takes them.
void offer(const Executor& executor, unsigned count, const ThreadGroup& group,
           const std::function<void()>& task) noexcept {
  try {
    for (unsigned i = 0; i < count && group.has_work(); ++i) {
      if (!executor(task)) return;
    }
  } catch (...) {
    // The same as a refusal: this thread does the work.
  }
}

void run_by_executor(const ExecOptions& exec, unsigned threads, ThreadGroup& group,
                     const std::function<Result<void>(WorkQueue&)>& body) {
  const auto gate = std::make_shared<Gate>();
  const auto task = [gate, caller = std::this_thread::get_id(), &group, &body] {
    if (!gate->enter()) return;
    if (group.has_work()) group.run(body, std::this_thread::get_id() == caller);
    gate->leave();
  };
  offer(exec.executor, threads - 1, group, task);
  group.run(body, true);
  gate->close();
}

// As many threads as the system gives, joined when they are destroyed.
std::vector<std::jthread> start(unsigned count, const std::function<void()>& run) {
  std::vector<std::jthread> helpers;
  helpers.reserve(count);
  try {
    const SignalsBlocked blocked;  // in the helpers too
    while (helpers.size() < count) helpers.emplace_back(run);
  } catch (const std::system_error&) {
    // The system gives no more threads: those that run do the work.
  }
  return helpers;
}

void run_by_threads(unsigned threads, ThreadGroup& group,
                    const std::function<Result<void>(WorkQueue&)>& body) {
  const auto helpers = start(threads - 1, [&] { group.run(body, false); });
  group.run(body, true);
}

void run_in_idle_time(const ThreadGroupOptions& options, ThreadGroup& group,
                      const std::function<Result<void>(WorkQueue&)>& body) {
  std::mutex mutex;
  std::condition_variable ended;
  std::size_t ended_count = 0;
  const auto helpers = start(options.threads, [&] {
    use_idle_time();
    group.run(body, false);
    const std::lock_guard lock(mutex);
    ++ended_count;
    ended.notify_one();
  });
  {
    std::unique_lock lock(mutex);
    ended.wait_for(lock, options.idle_max, [&] { return ended_count == helpers.size(); });
  }
  group.run(body, true);
}

}  // namespace

unsigned thread_count(const ExecOptions& exec) noexcept {
  if (exec.threads_max == 1) return 1;
  unsigned count = std::max(1u, affinity_count());
  try {
    if (const auto quota = cpu_quota()) count = std::min(count, *quota);
  } catch (const std::exception&) {
    // Without memory for a file stream the affinity mask alone decides.
  }
  return exec.threads_max == 0 ? count : std::min(count, exec.threads_max);
}

Result<void> unless_stopped(const std::stop_token& stop) {
  if (!stop.stop_requested()) return {};
  return Error{Code::Cancelled, 0, "cancelled by the caller"};
}

ExecOptions part_of(const ExecOptions& exec, const Progress& whole) {
  ExecOptions part = exec;
  if (exec.progress) {
    part.progress = [&exec, whole](const Progress& progress) {
      exec.progress({whole.done_bytes + progress.done_bytes, whole.total_bytes});
    };
  }
  return part;
}

Result<void> run_threads(const ExecOptions& exec, const ThreadGroupOptions& options,
                         const std::function<Result<void>(WorkQueue&)>& body) {
  ThreadGroup group(exec, options);
  if (!exec.executor && options.idle_max > std::chrono::milliseconds(0)) {
    run_in_idle_time(options, group, body);
  } else if (options.threads <= 1) {
    group.run(body, true);
  } else if (exec.executor) {
    run_by_executor(exec, options.threads, group, body);
  } else {
    run_by_threads(options.threads, group, body);
  }
  return group.outcome();
}

Result<void> run_parallel(const ExecOptions& exec, std::size_t count, std::uint64_t total_bytes,
                          const std::function<Result<std::uint64_t>(std::size_t)>& task) {
  const std::size_t threads = count < 2 ? 1 : std::min<std::size_t>(thread_count(exec), count);
  return run_threads(exec, {count, total_bytes, static_cast<unsigned>(threads)},
                     [&](WorkQueue& queue) -> Result<void> {
                       while (const auto number = queue.next()) {
                         CAIRN_TRY(done_bytes, task(*number));
                         queue.did(done_bytes);
                       }
                       return {};
                     });
}

}  // namespace cairn::os
