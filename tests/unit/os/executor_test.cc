// Work on an executor of the caller's: by how many, by nobody, too late, and without waiting for
// what has not begun.

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "cairn/restore.h"
#include "cairn/writer.h"
#include "lib/os/idle_thread.h"
#include "lib/os/parallel.h"
#include "tests/unit/background.h"
#include "tests/unit/scratch.h"

namespace cairn::os {
namespace {

using test::Pool;
using test::refusal;
using test::Scratch;
using test::Tasks;

// The threads of this process, as the kernel counts them.
std::size_t thread_count_now() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

// Runs 1,000 numbers and returns on which threads; each must come once.
std::set<std::thread::id> threads_of(const ExecOptions& exec) {
  std::vector<std::atomic<int>> seen(1000);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  REQUIRE_OK(run_parallel(exec, seen.size(), seen.size(),
                          [&](std::size_t number) -> Result<std::uint64_t> {
                            ++seen[number];
                            const std::lock_guard lock(mutex);
                            threads.insert(std::this_thread::get_id());
                            return std::uint64_t{1};
                          }));
  CHECK(std::ranges::all_of(seen, [](const auto& count) { return count == 1; }));
  return threads;
}

ExecOptions with(Executor executor, unsigned threads_max = 4) {
  ExecOptions exec;
  exec.threads_max = threads_max;
  exec.executor = std::move(executor);
  return exec;
}

TEST_CASE("an executor's threads do the work, and no thread is started") {
  if (thread_count({}) < 2) return;  // then a call gives no task away
  Pool pool(3);
  const std::size_t before = thread_count_now();
  std::atomic<std::size_t> most = 0;
  std::promise<void> both;
  std::atomic<int> arrived = 0;
  // The first two numbers wait for each other, so that two threads have to take part.
  REQUIRE_OK(
      run_parallel(with(pool.executor()), 100, 0, [&](std::size_t number) -> Result<std::uint64_t> {
        if (number < 2 && ++arrived == 2) both.set_value();
        if (number == 0) both.get_future().wait();
        most = std::max(most.load(), thread_count_now());
        return std::uint64_t{0};
      }));
  CHECK(most == before);
  CHECK(pool.task_count() <= 3);
}

TEST_CASE("an executor gets no more tasks than threads are allowed, and none for one thread") {
  if (thread_count({}) < 2) return;
  for (const unsigned threads_max : {1u, 2u}) {
    Tasks tasks;
    threads_of(with(tasks.executor(), threads_max));
    CHECK(tasks.size() == threads_max - 1);
  }
}

TEST_CASE("a call does its work alone if the executor refuses, throws, or never runs a task") {
  const std::set<std::thread::id> here{std::this_thread::get_id()};
  CHECK(threads_of(with([](const auto&) { return false; })) == here);
  CHECK(threads_of(with([](const auto&) -> bool { throw std::runtime_error("full"); })) == here);
  CHECK(threads_of(with([](const auto&) -> bool { throw 7; })) == here);
  CHECK(threads_of(with([](const auto&) { return true; })) == here);  // dropped
  Tasks kept;
  CHECK(threads_of(with(kept.executor())) == here);
}

TEST_CASE("a task that begins after the call has returned touches nothing of it") {
  Tasks kept;
  threads_of(with(kept.executor()));
  for (int i = 0; i < 2; ++i) kept.run_all();  // also twice
}

TEST_CASE("an executor that runs tasks inline makes the first one do everything") {
  int count = 0;
  Progress last;
  ExecOptions exec = with([&](const std::function<void()>& task) {
    ++count;
    task();
    return true;
  });
  exec.progress = [&](const Progress& progress) { last = progress; };
  CHECK(threads_of(exec) == std::set{std::this_thread::get_id()});
  CHECK(count == (thread_count({}) < 2 ? 0 : 1));
  CHECK(last.done_bytes == last.total_bytes);
}

TEST_CASE("calls from the only thread of an executor do not wait for themselves") {
  Pool pool(1);
  std::promise<std::size_t> done;
  pool.executor()([&] {
    std::size_t count = 0;
    for (int i = 0; i < 10; ++i) count += threads_of(with(pool.executor())).size();
    done.set_value(count);
  });
  CHECK(done.get_future().get() == 10);
}

TEST_CASE("an error of a task on the executor ends the call, and a stop request too") {
  Pool pool(2);
  const auto failed = run_parallel(with(pool.executor()), 10'000, 0,
                                   [&](std::size_t number) -> Result<std::uint64_t> {
                                     if (number == 5'000) return Error{Code::Io, 0, "no disk"};
                                     return std::uint64_t{0};
                                   });
  CHECK(refusal(failed, {"no disk"}) == Code::Io);
  std::stop_source stop;
  ExecOptions exec = with(pool.executor());
  exec.stop = stop.get_token();
  const auto stopped =
      run_parallel(exec, 10'000, 0, [&](std::size_t number) -> Result<std::uint64_t> {
        if (number == 100) stop.request_stop();
        return std::uint64_t{0};
      });
  CHECK(refusal(stopped) == Code::Cancelled);
}

TEST_CASE("many calls at once on one small executor all end, with every number once") {
  Pool pool(2);
  std::vector<std::jthread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int call = 0; call < 50; ++call) {
        std::atomic<std::size_t> sum = 0;
        const auto done = run_parallel(with(pool.executor()), 100, 0,
                                       [&](std::size_t number) -> Result<std::uint64_t> {
                                         sum += number;
                                         return std::uint64_t{0};
                                       });
        if (!done || sum != 4950) std::abort();
      }
    });
  }
}

TEST_CASE("a checkpoint is written, restored and verified on an executor") {
  const Scratch scratch;
  Pool pool(2);
  const std::vector<test::Content> contents{test::raw("big", DType::Float32, {3'000'000}),
                                            test::raw("small", DType::Uint8, {5})};
  const std::size_t before = thread_count_now();
  std::size_t most = 0;
  ExecOptions exec = with(pool.executor());
  exec.progress = [&](const Progress&) { most = std::max(most, thread_count_now()); };
  test::write_checkpoint(scratch / "p", contents);
  for (const IoMethod method : {IoMethod::Map, IoMethod::Populate, IoMethod::Read}) {
    RestoreOptions options;
    options.method = method;
    options.exec = exec;
    const auto restored = restore(scratch / "p", options);
    REQUIRE_OK(restored);
    test::check_holds(restored->checkpoint, contents);
    const auto verified = restored->checkpoint.verify(exec);
    REQUIRE_OK(verified);
    CHECK(verified->damage.empty());
  }
  CHECK(most == before);
}

TEST_CASE("an idle thread does the work, and the caller too when it has waited long enough") {
  IdleThread thread;
  const std::size_t before = thread_count_now();
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> bodies = 0;
    std::atomic<int> next = 0;
    std::array<std::atomic<int>, 50> done{};
    thread.run(
        [&]() noexcept {
          ++bodies;
          for (int number = next++; number < 50; number = next++)
            ++done[static_cast<std::size_t>(number)];
        },
        std::chrono::milliseconds(round % 2 == 0 ? 1000 : 0));
    CHECK(bodies >= 1);
    CHECK(bodies <= 2);
    for (const auto& each : done) CHECK(each == 1);
  }
  CHECK(thread_count_now() == before);
}

TEST_CASE("an idle thread ends with its object") {
  const std::size_t before = thread_count_now();
  {
    const IdleThread thread;
    CHECK(thread_count_now() == before + 1);
  }
  CHECK(thread_count_now() == before);
}

}  // namespace
}  // namespace cairn::os
