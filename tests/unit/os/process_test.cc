// What a library shares with the program around it: signals, the numbers of descriptors,
// exceptions.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "lib/os/direct.h"
#include "lib/os/file.h"
#include "lib/os/parallel.h"
#include "lib/os/watch.h"
#include "lib/try.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;

// How a child that runs `body` ends, as waitpid() says it.
template <class Body>
int end_of_child(Body body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

// ---- Signals ------------------------------------------------------------------------------------

constexpr int kRaisedByInstructions[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

// The signals that the calling thread takes, but those that nobody can block.
std::vector<int> taken_here() {
  sigset_t blocked;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  std::vector<int> taken;
  for (int signal = 1; signal < NSIG; ++signal) {
    // Between 31 and SIGRTMIN lie those that the C library keeps to itself.
    if (signal == SIGKILL || signal == SIGSTOP || (signal > 31 && signal < SIGRTMIN)) continue;
    if (::sigismember(&blocked, signal) == 0) taken.push_back(signal);
  }
  return taken;
}

std::vector<int> raised_by_instructions() {
  std::vector<int> sorted(std::begin(kRaisedByInstructions), std::end(kRaisedByInstructions));
  std::ranges::sort(sorted);
  return sorted;
}

TEST_CASE("helping threads take no signal but those of their own instructions") {
  const std::vector<int> before = taken_here();
  const auto caller = std::this_thread::get_id();
  std::atomic<int> helped = 0;
  std::atomic<bool> good = true;
  const auto done = os::run_threads({}, {8, 0, 3}, [&](os::WorkQueue& feed) -> Result<void> {
    const bool helper = std::this_thread::get_id() != caller;
    if (helper) ++helped;
    if (taken_here() != (helper ? raised_by_instructions() : before)) good = false;
    while (feed.next()) {
    }
    return {};
  });
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(helped == 2);
  CHECK(good);
  CHECK(taken_here() == before);
}

TEST_CASE("the thread of an asynchronous save takes none either") {
  const Sandbox sandbox;
  const std::vector<int> before = taken_here();
  const auto caller = std::this_thread::get_id();
  std::atomic<int> asked = 0;
  std::atomic<bool> good = true;
  SaverOptions options;
  options.clock = [&] {
    if (std::this_thread::get_id() != caller) {
      ++asked;
      if (taken_here() != raised_by_instructions()) good = false;
    }
    return 1.0;
  };
  auto saver = Saver::open(sandbox / "saved", options);
  REQUIRE_MESSAGE(saver, refusal(saver));
  const std::int32_t value = 7;
  const NamedTensor tensor{{"v", DType::Int32, {}}, std::as_bytes(std::span(&value, 1)), {}};
  const auto pending = saver->save_async("m", std::span(&tensor, 1), Saver::Memory::Borrow, {});
  REQUIRE_MESSAGE(pending, refusal(pending));
  CHECK(taken_here() == before);
  const auto saved = pending->wait();
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(asked > 0);
  CHECK(good);
}

// ---- Priority -----------------------------------------------------------------------------------

TEST_CASE("idle time is for threads of our own, and the caller works when its patience ends") {
  const auto caller = std::this_thread::get_id();
  struct Run {
    std::chrono::milliseconds idle_max;
    bool caller_works;
  };
  // The helper holds the first number until the caller has the second, or the time is over.
  for (const auto& [idle_max, caller_works] :
       {Run{std::chrono::minutes(5), false}, Run{std::chrono::milliseconds(50), true}}) {
    std::atomic<int> idle = 0;
    std::atomic<int> done_by_caller = 0;
    std::atomic<int> done_by_helper = 0;
    const os::ThreadGroupOptions options{2, 0, 1, idle_max};
    const auto done = os::run_threads({}, options, [&](os::WorkQueue& feed) -> Result<void> {
      const bool helper = std::this_thread::get_id() != caller;
      if (helper && ::sched_getscheduler(0) == SCHED_IDLE) ++idle;
      while (feed.next()) {
        ++(helper ? done_by_helper : done_by_caller);
        while (helper && caller_works && done_by_caller == 0) std::this_thread::yield();
      }
      return {};
    });
    REQUIRE_MESSAGE(done, refusal(done));
    CHECK(idle == 1);
    CHECK(done_by_caller + done_by_helper == 2);
    CHECK((done_by_caller != 0) == caller_works);
  }
  CHECK(::sched_getscheduler(0) == SCHED_OTHER);
}

TEST_CASE("space is reserved beside a timer that is faster than the reservation") {
  struct sigaction handler{};
  handler.sa_handler = [](int) {};
  handler.sa_flags = SA_RESTART;
  struct sigaction handler_before{};
  REQUIRE(::sigaction(SIGALRM, &handler, &handler_before) == 0);
  const itimerval fast{{0, 100}, {0, 100}};
  REQUIRE(::setitimer(ITIMER_REAL, &fast, nullptr) == 0);
  const auto file = os::memory_file("memory");
  const auto reserved = file ? file->reserve(std::uint64_t{96} << 20) : Result<void>(file.error());
  const itimerval none{};
  ::setitimer(ITIMER_REAL, &none, nullptr);
  ::sigaction(SIGALRM, &handler_before, nullptr);
  CHECK_MESSAGE(reserved, refusal(reserved));
}

// ---- Descriptors --------------------------------------------------------------------------------

bool standard_streams_are_closed() {
  return std::ranges::all_of(std::initializer_list<int>{0, 1, 2},
                             [](int fd) { return ::fcntl(fd, F_GETFD) < 0; });
}

// 0, or the number of the step after which one of the three numbers was taken or something failed.
int work_without_standard_streams(const test::fs::path& root) {
  for (const int fd : {0, 1, 2}) ::close(fd);
  const std::string noise = "WARNING: loss is nan\n";
  const auto step_is_good = [&](bool done) {
    for (const int fd : {0, 1, 2}) (void)!::write(fd, noise.data(), noise.size());
    return done && standard_streams_are_closed();
  };
  const std::vector<std::byte> bytes(100'000, std::byte{5});
  auto writer =
      Writer::create(root / "m", {{"a", DType::Uint8, {static_cast<std::int64_t>(bytes.size())}}});
  if (!step_is_good(writer.has_value())) return 1;
  if (!step_is_good(writer->append("a", bytes).has_value())) return 2;
  if (!step_is_good(writer->commit().has_value())) return 3;
  const auto checkpoint = Checkpoint::open(root / "m");
  if (!step_is_good(checkpoint && checkpoint->verify() && checkpoint->verify()->damage.empty()))
    return 4;
  const auto saver = Saver::open(root / "saved");
  if (!step_is_good(saver.has_value())) return 5;
  const os::NameWatch watch(root, "checkpoint");
  if (!step_is_good(true)) return 6;
  std::stop_source stop;  // so that there is a bell
  std::jthread ringer([&stop] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (standard_streams_are_closed()) stop.request_stop();
  });
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  const auto waited = watch.wait(until, stop.get_token());
  if (!step_is_good(waited && std::chrono::steady_clock::now() < until)) return 7;
  const auto memory = os::memory_file("memory");
  if (!step_is_good(memory && memory->reserve(os::kDirectAlignmentBytes))) return 8;
  alignas(os::kDirectAlignmentBytes) std::byte block[os::kDirectAlignmentBytes];
  const os::DirectRead read{&*memory, 0, block};
  ExecOptions alone;  // another thread's ring has such a number for a moment, until it is given a
                      // higher one
  alone.threads_max = 1;
  const auto done = os::read_direct(alone, std::span(&read, 1), [](std::size_t) -> Result<void> {
    if (standard_streams_are_closed()) return {};
    return Error{Code::Io, 0, "taken"};
  });
  return step_is_good(done.has_value()) ? 0 : 9;
}

TEST_CASE("without standard streams no file of ours gets their numbers") {
  const Sandbox sandbox;
  const int status = end_of_child([&] { return work_without_standard_streams(sandbox.root()); });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

// ---- Results and exceptions ---------------------------------------------------------------------

TEST_CASE("the error of a success ends the program with a sentence") {
  for (const bool with_value : {true, false}) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const int status = end_of_child([&] {
      ::dup2(ends[1], STDERR_FILENO);
      ::signal(SIGABRT, SIG_DFL);  // doctest's own handler would speak too
      if (with_value) return static_cast<int>(Result<int>(1).error().code);
      return static_cast<int>(Result<void>().error().code);
    });
    ::close(ends[1]);
    char text[200]{};
    (void)!::read(ends[0], text, sizeof text - 1);
    ::close(ends[0]);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
    CHECK(std::string(text) == "cairn: error read from a successful result\n");
  }
}

TEST_CASE("whatever a caller's function throws comes back as an error") {
  const Sandbox sandbox;
  auto saver = Saver::open(sandbox / "saved");
  REQUIRE_MESSAGE(saver, refusal(saver));
  const auto fill = [](Writer&) -> Result<void> { throw 7; };
  CHECK(has(refusal(saver->save("m", {{"v", DType::Int32, {}}}, fill)),
            "Io: a function of the caller's threw what is no std::exception"));
  CHECK(has(refusal(at_boundary([]() -> Result<void> { throw "a text"; })), "Io: "));
  // The Saver goes on.
  const auto good = [](Writer& writer) {
    const std::int32_t value = 1;
    return writer.write("v", std::as_bytes(std::span(&value, 1)));
  };
  CHECK(saver->save("m", {{"v", DType::Int32, {}}}, good));
}

}  // namespace
}  // namespace cairn
