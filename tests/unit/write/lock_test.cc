// Who waits for a lock, for how long, and who comes next.

#include "lib/write/lock.h"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/scratch.h"

namespace cairn::internal {
namespace {

using std::chrono::milliseconds;
using test::Scratch;

os::Directory opened(const Scratch& scratch) {
  auto directory = os::Directory::open(scratch.path());
  REQUIRE_OK(directory);
  return *std::move(directory);
}

using Taken = std::optional<Lock>;

Taken take(const os::Directory& directory, const LockWait& wait = {}) {
  auto lock = Lock::of_directory(directory, wait);
  REQUIRE_OK(lock);
  return Taken(*std::move(lock));
}

Error refused(const os::Directory& directory, const LockWait& wait) {
  const auto lock = Lock::of_directory(directory, wait);
  REQUIRE(!lock);
  return lock.error();
}

// ---- Who comes next

// Shared with forked children.
struct Board {
  static constexpr std::size_t kCrowdMax = 8;
  std::atomic<std::size_t> ready{0};
  std::atomic<int> taken{0};
  std::array<std::atomic<int>, kCrowdMax> turns{};
};

struct SharedBoard {
  SharedBoard()
      : at(::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                  0)) {
    REQUIRE(at != MAP_FAILED);
    new (at) Board;
  }
  ~SharedBoard() { ::munmap(at, sizeof(Board)); }
  Board* operator->() const { return static_cast<Board*>(at); }
  void* at;
};

constexpr int kTurns = 24;  // that each gets, if all get as many

// Wants the lock all the time, until all together have had it often enough.
void want(const os::Directory& directory, const SharedBoard& board, std::size_t crowd,
          std::size_t self, milliseconds hold) {
  ++board->ready;
  while (board->ready < crowd) std::this_thread::yield();
  while (true) {
    const auto lock = Lock::of_directory(directory, {});
    if (!lock || board->taken >= static_cast<int>(crowd) * kTurns) return;
    ++board->turns[self];
    ++board->taken;
    std::this_thread::sleep_for(hold);
  }
}

void all_had_turns(const SharedBoard& board, std::size_t crowd) {
  CHECK(board->taken == static_cast<int>(crowd) * kTurns);
  for (std::size_t i = 0; i < crowd; ++i) CHECK(board->turns[i] >= kTurns / 2);
}

TEST_CASE("among threads that want a lock all the time, everyone gets turns") {
  for (const std::size_t crowd : {2u, 3u, 6u}) {
    for (const milliseconds hold : {milliseconds(1), milliseconds(6)}) {
      INFO(crowd, " threads hold it ", hold.count(), " ms");
      const Scratch scratch;
      const os::Directory directory = opened(scratch);
      const SharedBoard board;
      {
        std::vector<std::jthread> threads;
        for (std::size_t i = 0; i < crowd; ++i)
          threads.emplace_back([&, i] { want(directory, board, crowd, i, hold); });
      }
      all_had_turns(board, crowd);
    }
  }
}

TEST_CASE("among processes that want a lock all the time, everyone gets turns") {
  constexpr std::size_t kCrowd = 4;
  const Scratch scratch;
  const os::Directory directory = opened(scratch);
  const SharedBoard board;
  for (std::size_t i = 0; i < kCrowd; ++i) {
    if (::fork() != 0) continue;
    want(directory, board, kCrowd, i, milliseconds(3));
    ::_exit(0);
  }
  while (::wait(nullptr) > 0) continue;
  all_had_turns(board, kCrowd);
}

// A process that waits for the lock as long as it takes, and ends with 0 when it has had it.
pid_t fork_waiter(const os::Directory& directory) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  const auto taken = Lock::of_directory(directory, {milliseconds::max(), {}});
  ::_exit(taken ? 0 : 1);
}

TEST_CASE("who dies while waiting holds nobody up") {
  const Scratch scratch;
  const os::Directory directory = opened(scratch);
  Taken lock = take(directory);
  const pid_t child = fork_waiter(directory);
  std::this_thread::sleep_for(milliseconds(20));  // it has a ticket by then, or will never have one
  std::jthread behind([&] { (void)take(directory); });
  std::this_thread::sleep_for(milliseconds(20));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  lock.reset();
  behind.join();
  CHECK(take(directory));
}

TEST_CASE("who is stopped while waiting holds nobody up for long") {
  const Scratch scratch;
  const os::Directory directory = opened(scratch);
  Taken lock = take(directory);
  const pid_t child = fork_waiter(directory);
  std::this_thread::sleep_for(milliseconds(100));  // it has a ticket by then
  ::kill(child, SIGSTOP);
  lock.reset();
  CHECK(refused(directory, {milliseconds(0), {}}).what.find(": other processes wait for it") !=
        std::string::npos);
  // Two behind it.
  std::jthread behind([&] { CHECK(take(directory, {milliseconds(60'000), {}})); });
  CHECK(take(directory, {milliseconds(60'000), {}}));
  behind.join();
  ::kill(child, SIGCONT);
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}

TEST_CASE("a lock ends with its holder's process, however that ends") {
  const Scratch scratch;
  const os::Directory directory = opened(scratch);
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = Lock::of_directory(directory, {});
    (void)!::write(ends[1], "x", 1);
    ::pause();
  }
  char byte{};
  REQUIRE(::read(ends[0], &byte, 1) == 1);
  CHECK(refused(directory, {milliseconds(0), {}}).code == Code::Busy);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  CHECK(take(directory, {milliseconds(0), {}}));
  for (const int end : ends) ::close(end);
}

TEST_CASE("a child that was forked meanwhile does not prolong a lock") {
  const Scratch scratch;
  const os::Directory directory = opened(scratch);
  Taken lock = take(directory);
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {  // has the file open too, until it is told to end
    ::close(ends[1]);
    char byte{};
    (void)!::read(ends[0], &byte, 1);
    ::_exit(0);
  }
  ::close(ends[0]);
  lock.reset();
  CHECK(take(directory, {milliseconds(0), {}}));
  ::close(ends[1]);
  ::waitpid(child, nullptr, 0);
}

// ---- How long

TEST_CASE("who does not want to wait is told at once who has the lock") {
  const Scratch scratch;
  const os::Directory directory = opened(scratch);
  const Taken lock = take(directory);
  for (const milliseconds wait : {milliseconds(0), milliseconds(-1), milliseconds::min()}) {
    const Error error = refused(directory, {wait, {}});
    CHECK(error.code == Code::Busy);
    CHECK(error.what.find("process " + std::to_string(::getpid())) != std::string::npos);
    CHECK(error.what.find("; waited 0 ms; try again") != std::string::npos);
  }
}

TEST_CASE("a wait of any length ends when the lock is free, or when it is stopped") {
  using std::chrono::hours;
  for (const milliseconds wait : {milliseconds::max(), milliseconds(hours(24 * 365 * 200)),
                                  milliseconds(hours(24 * 365 * 99))}) {
    INFO(wait.count());
    const Scratch scratch;
    const os::Directory directory = opened(scratch);
    Taken lock = take(directory);
    std::stop_source source;
    std::jthread stopping([&] {
      std::this_thread::sleep_for(milliseconds(10));
      source.request_stop();
    });
    CHECK(refused(directory, {wait, source.get_token()}).code == Code::Cancelled);
    std::jthread releasing([&] {
      std::this_thread::sleep_for(milliseconds(10));
      lock.reset();
    });
    CHECK(take(directory, {wait, {}}));
  }
}

TEST_CASE("where the directory is gone, the sentence says so") {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "d");
  const auto directory = os::Directory::open(scratch / "d");
  REQUIRE_OK(directory);
  std::filesystem::remove_all(scratch / "d");
  const Error error = refused(*directory, {});
  CHECK(error.code == Code::NotFound);
  CHECK(error.what ==
        (scratch / "d").string() + ": was removed after it was opened; open it again");
}

TEST_CASE("who finds that somebody removed the lock's file takes the lock of the new one") {
  const Scratch scratch;
  const os::Directory directory = opened(scratch);
  Taken lock = take(directory);
  std::filesystem::remove(scratch / std::string(kLockName));
  const Taken other = take(directory, {milliseconds(0), {}});
  lock.reset();
  CHECK(refused(directory, {milliseconds(0), {}}).code == Code::Busy);
}

}  // namespace
}  // namespace cairn::internal
