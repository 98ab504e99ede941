// Opening and restoring in the background: results, cancelling, and Futures that go early.

#include <doctest/doctest.h>
#include <pthread.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include "cairn/restore.h"
#include "tests/unit/background.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using namespace std::chrono_literals;
using test::Pool;
using test::raw;
using test::refusal;
using test::Scratch;
using test::Tasks;
using test::write_checkpoint;

std::vector<test::Content> contents() {
  return {raw("big", DType::Float32, {2'000'000}), raw("byte", DType::Uint8, {1})};
}

// Memory for a restore, which asks for it and then waits until the test lets it go on.
class Halt {
 public:
  explicit Halt(std::size_t size_bytes) : memory_(size_bytes) {}
  std::function<CallerMemory(std::uint64_t)> memory() {
    return [this](std::uint64_t) {
      here_.set_value();
      go_on_.get_future().wait();
      return CallerMemory{memory_, nullptr};
    };
  }
  void wait_until_here() { here_.get_future().wait(); }
  void let_go() { go_on_.set_value(); }

 private:
  std::vector<std::byte> memory_;
  std::promise<void> here_;
  std::promise<void> go_on_;
};

TEST_CASE("a checkpoint opens and is restored in the background, and each wait gives the same") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  const Future<Checkpoint> opening = Checkpoint::open_async(scratch / "p");
  const Future<Restored> restoring = restore_async(scratch / "p");
  for (int i = 0; i < 2; ++i) {
    const auto opened = opening.wait();
    REQUIRE_OK(opened);
    test::check_holds(*opened, contents());
    const auto restored = restoring.wait();
    REQUIRE_OK(restored);
    test::check_holds(restored->checkpoint, contents());
  }
  CHECK(opening.done());
  CHECK(opening.wait_for(0ms));
  CHECK(restoring.done());
}

TEST_CASE("a call in the background fails as the call itself") {
  const Scratch scratch;
  CHECK(refusal(Checkpoint::open_async(scratch / "p").wait(), {"no checkpoint there"}) ==
        Code::NotFound);
  write_checkpoint(scratch / "p", contents());
  const auto offset = test::tensor_of(test::open_checkpoint(scratch / "p"), "big").offset_bytes();
  for (const std::string& name : scratch.names()) {
    if (name.find(".data-") != std::string::npos) test::flip_bit(scratch / name, offset + 9);
  }
  CHECK(refusal(restore_async(scratch / "p").wait(), {"\"big\""}) == Code::Corrupt);
}

TEST_CASE("what the options refer to may go before the call in the background has begun") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  Tasks tasks;
  auto specs = test::specs_of(contents());
  OpenOptions options;
  options.expected = specs;
  options.exec.executor = tasks.executor();
  const auto opening = Checkpoint::open_async(scratch / "p", options);
  for (TensorSpec& spec : specs) spec = {};
  specs.clear();
  CHECK_FALSE(opening.done());
  tasks.run_all();
  CHECK(opening.done());
  REQUIRE_OK(opening.wait());
}

TEST_CASE("wait does the work itself if the executor has not begun, also on its only thread") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  Tasks tasks;
  RestoreOptions options;
  options.exec.executor = tasks.executor();
  const auto restoring = restore_async(scratch / "p", options);
  CHECK_FALSE(restoring.wait_for(1ms));
  REQUIRE_OK(restoring.wait());
  tasks.run_all();  // too late, and harmless
  REQUIRE_OK(restoring.wait());

  Pool pool(1);
  std::promise<bool> done;
  pool.executor()([&] {
    RestoreOptions nested;
    nested.exec.executor = pool.executor();
    done.set_value(restore_async(scratch / "p", nested).wait().has_value());
  });
  CHECK(done.get_future().get());
}

TEST_CASE("an executor that refuses, throws or drops the task makes it Busy") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  OpenOptions options;
  options.exec.executor = [](const auto&) { return false; };
  CHECK(refusal(Checkpoint::open_async(scratch / "p", options).wait(), {"executor refused"}) ==
        Code::Busy);
  options.exec.executor = [](const auto&) -> bool { throw 7; };
  CHECK(refusal(Checkpoint::open_async(scratch / "p", options).wait()) == Code::Busy);
  Tasks tasks;
  options.exec.executor = tasks.executor();
  const auto opening = Checkpoint::open_async(scratch / "p", options);
  tasks.drop_all();
  CHECK(opening.done());
  CHECK(refusal(opening.wait()) == Code::Busy);
  // Inline, it is done at once.
  options.exec.executor = [](const std::function<void()>& task) {
    task();
    return true;
  };
  CHECK(Checkpoint::open_async(scratch / "p", options).done());
}

TEST_CASE("if no thread can be started, the call has not begun and says so") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  pthread_attr_t was;
  pthread_attr_t huge;
  REQUIRE(::pthread_getattr_default_np(&was) == 0);
  REQUIRE(::pthread_attr_init(&huge) == 0);
  REQUIRE(::pthread_attr_setstacksize(&huge, std::size_t{1} << 47) ==
          0);  // no address space has it
  REQUIRE(::pthread_setattr_default_np(&huge) == 0);
  {
    const auto opening = Checkpoint::open_async(scratch / "p");
    CHECK(opening.done());
    CHECK(refusal(opening.wait(), {"no thread can be started", "ulimit -u"}) == Code::OutOfMemory);
  }
  REQUIRE(::pthread_setattr_default_np(&was) == 0);
  REQUIRE_OK(Checkpoint::open_async(scratch / "p").wait());
}

TEST_CASE("cancel ends a call that runs, and so does the caller's own stop token") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  for (const bool by_token : {false, true}) {
    std::stop_source stop;
    Tasks tasks;
    RestoreOptions options;
    options.exec.stop = stop.get_token();
    options.exec.executor = tasks.executor();
    Future<Restored> restoring = restore_async(scratch / "p", options);
    if (by_token) {
      stop.request_stop();
    } else {
      restoring.cancel();
    }
    CHECK_FALSE(restoring.done());
    CHECK(refusal(restoring.wait()) == Code::Cancelled);
    restoring.cancel();  // without effect
  }
}

TEST_CASE("a Future that goes before its call has begun leaves nothing to do") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  Tasks tasks;
  const auto watched = std::make_shared<int>(0);
  RestoreOptions options;
  options.exec.executor = tasks.executor();
  options.memory = [watched](std::uint64_t) {
    ++*watched;
    return CallerMemory();
  };
  {
    const auto restoring = restore_async(scratch / "p", options);
  }
  options.memory = nullptr;
  CHECK(watched.use_count() == 1);  // also what the options hold is gone
  tasks.run_all();
  CHECK(*watched == 0);
}

// Whether the call was cancelled by the Future that went. It must have ended before.
bool goes_while_it_runs(const Scratch& scratch, const Executor& executor) {
  Halt halt(10'000'000);
  std::atomic<int> opened = 0;
  std::atomic<int> cancelled = 0;
  RestoreOptions options;
  options.memory = halt.memory();
  options.exec.executor = executor;
  options.on_event = [&](const Event& event) {
    if (event.kind == EventKind::Opened) ++opened;
    if (event.kind == EventKind::Failed && event.message.find("cancelled") != std::string::npos)
      ++cancelled;
  };
  auto restoring = std::make_unique<Future<Restored>>(restore_async(scratch / "p", options));
  halt.wait_until_here();
  CHECK_FALSE(restoring->done());
  std::jthread letting_go([&] {
    std::this_thread::sleep_for(50ms);
    halt.let_go();
  });
  restoring.reset();
  CHECK(opened + cancelled == 1);
  return cancelled == 1;
}

TEST_CASE("a Future that goes while its call runs cancels it and waits for its end") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  Pool pool(1);
  for (const Executor& executor : {Executor(), pool.executor()}) {
    bool cancelled = false;
    // A machine that is busy may let the call go on before the Future goes: then once more.
    for (int i = 0; i < 20 && !cancelled; ++i) cancelled = goes_while_it_runs(scratch, executor);
    CHECK(cancelled);
  }
}

TEST_CASE("a Future moves, and the one that is assigned to ends first as if it went") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  Future<Checkpoint> first = Checkpoint::open_async(scratch / "p");
  Future<Checkpoint> second = std::move(first);
  REQUIRE_OK(second.wait());
  second = Checkpoint::open_async(scratch / "q");
  CHECK(refusal(second.wait()) == Code::NotFound);
  Future<Checkpoint>& itself = second;
  second = std::move(itself);
  CHECK(second.done());
}

TEST_CASE("many Futures begin, are waited for by several threads, and go at any moment") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("w", DType::Float32, {100'000})});
  Pool pool(2);
  for (int i = 0; i < 60; ++i) {
    RestoreOptions options;
    if (i % 3 != 0) options.exec.executor = pool.executor();
    options.exec.threads_max = 2;
    auto restoring = restore_async(scratch / "p", options);
    if (i % 2 == 0) {
      std::jthread other([&] { static_cast<void>(restoring.wait()); });
      REQUIRE_OK(restoring.wait());
    } else if (i % 5 == 0) {
      restoring.cancel();
    }
  }
}

}  // namespace
}  // namespace cairn
