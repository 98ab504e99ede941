// usage: processes DIR PAYLOAD [--benchmark_…]
//
// 1, 2, 4 and 8 processes start to restore the same warm checkpoint at once, and touch every page
// of it. The time is that of the last one. While all hold what they restored, each says how much
// memory it has gained (/proc/PID/smaps_rollup):
//
//     pss          the sum of their shares of file pages and of their anonymous memory
//     anonymous    the most that one of them has of its own
//     index        the size of P.cairn, which the anonymous memory is to be held against
//
// The contenders: `cairn` (restore() by Way::Populate, touch), `plain-mmap` (MAP_POPULATE, touch),
// and `plain-pread`, the way of those who copy: read into memory of each process's own.

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "cairn/restore.h"
#include "measure.h"
#include "plain.h"

namespace cairn::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Restores, calls `held` while what it restored is there, and lets go.
using Restore = std::function<Result<void>(const std::function<void()>& held)>;

struct Gain {
  std::uint64_t pss_bytes = 0;
  std::uint64_t anonymous_bytes = 0;
};

Gain memory_now() { return {rollup_bytes("Pss"), rollup_bytes("Anonymous")}; }

// The two ends of a conversation with a child: each message is a value or a single byte.
class Channel {
 public:
  Channel() {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_.data()) != 0) std::abort();
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() {
    for (const int end : ends_) close(end);
  }

  enum Side : std::size_t { Parent, Child };
  template <class T>
  bool send(Side side, const T& value) const {
    return write(ends_[side], &value, sizeof value) == sizeof value;
  }
  template <class T>
  bool receive(Side side, T& value) const {
    return read(ends_[side], &value, sizeof value) == sizeof value;
  }

 private:
  std::array<int, 2> ends_;
};

// Told to go, restores and says when it was done; told again, says what it holds; told again, ends.
[[noreturn]] void child(const Channel& channel, const Restore& restore) {
  const Gain before = memory_now();
  char word = 0;
  channel.receive(Channel::Child, word);
  const auto done = restore([&] {
    channel.send(Channel::Child, Clock::now());
    channel.receive(Channel::Child, word);
    const Gain after = memory_now();
    channel.send(Channel::Child, Gain{after.pss_bytes - before.pss_bytes,
                                      after.anonymous_bytes - before.anonymous_bytes});
    channel.receive(Channel::Child, word);
  });
  _exit(done ? 0 : 1);
}

struct Outcome {
  std::chrono::duration<double> elapsed;
  Gain gain;  // the sum of shares, the most of anonymous memory
};

Result<Outcome> run_children(std::size_t count, const Restore& restore) {
  std::vector<Channel> channels(count);
  std::vector<pid_t> children;
  for (const Channel& channel : channels) {
    const pid_t made = fork();
    if (made == 0) child(channel, restore);
    children.push_back(made);
  }
  const auto tell_all = [&] {
    for (const Channel& channel : channels) channel.send(Channel::Parent, 'g');
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // all of them wait for the word
  bool whole = true;
  const Clock::time_point start = Clock::now();
  Clock::time_point last = start;
  tell_all();
  for (const Channel& channel : channels) {
    Clock::time_point end;
    whole = whole && channel.receive(Channel::Parent, end);
    last = std::max(last, end);
  }
  tell_all();
  Gain sum;
  for (const Channel& channel : channels) {
    Gain gain;
    whole = whole && channel.receive(Channel::Parent, gain);
    sum.pss_bytes += gain.pss_bytes;
    sum.anonymous_bytes = std::max(sum.anonymous_bytes, gain.anonymous_bytes);
  }
  tell_all();
  for (const pid_t made : children) waitpid(made, nullptr, 0);
  if (!whole) return Error{Code::Io, 0, "a process could not restore"};
  return Outcome{last - start, sum};
}

enum class Holds { Mapping, Copy };

void measure(benchmark::State& state, const Subject& subject, const Restore& restore, Holds holds) {
  Gain gain;
  const auto count = static_cast<std::size_t>(state.range(0));
  if (holds == Holds::Copy) settle(count * std::filesystem::file_size(subject.file()));
  while (state.KeepRunning()) {
    const auto outcome = run_children(count, restore);
    if (!outcome) return state.SkipWithError(outcome.error().what.c_str());
    state.SetIterationTime(outcome->elapsed.count());
    gain = outcome->gain;
  }
  const auto index = std::filesystem::file_size(subject.cairn() + ".cairn");
  state.counters["pss_bytes"] = static_cast<double>(gain.pss_bytes);
  state.counters["anonymous_bytes"] = static_cast<double>(gain.anonymous_bytes);
  state.counters["index_bytes"] = static_cast<double>(index);
}

Restore by_cairn(const std::string& path) {
  return [path](const std::function<void()>& held) -> Result<void> {
    RestoreOptions options;
    options.method = IoMethod::Populate;
    options.verify = Verify::None;
    const auto restored = restore(path, options);
    if (!restored) return restored.error();
    for (std::size_t i = 0; i < restored->checkpoint.tensor_count(); ++i) {
      const auto bytes = restored->checkpoint.tensor_at(i).bytes();
      if (!bytes) return bytes.error();
      touch(*bytes);
    }
    held();
    return {};
  };
}

Restore by_mmap(const std::string& path) {
  return [path](const std::function<void()>& held) -> Result<void> {
    const auto memory = Memory::of_file(path, Pages::Populated);
    if (!memory) return memory.error();
    touch(memory->bytes());
    held();
    return {};
  };
}

Restore by_pread(const std::string& path) {
  return [path](const std::function<void()>& held) -> Result<void> {
    const auto file = File::open(path);
    if (!file) return file.error();
    const auto memory = Memory::own(file->size(), Pages::OnTouch);
    if (!memory) return memory.error();
    const auto done = file->read(memory->bytes().first(file->size()), 0);
    if (done) held();
    return done;
  };
}

void add_figures(const Subject& subject) {
  const std::tuple<const char*, Restore, Holds> contenders[] = {
      {"cairn", by_cairn(subject.cairn()), Holds::Mapping},
      {"plain-mmap", by_mmap(subject.file()), Holds::Mapping},
      {"plain-pread", by_pread(subject.file()), Holds::Copy}};
  for (const int count : {1, 2, 4, 8}) {
    for (const auto& [contender, restore, holds] : contenders) {
      const std::string name = "processes-" + std::to_string(count) + "/" + contender;
      benchmark::RegisterBenchmark(name.c_str(), measure, subject, restore, holds)
          ->Arg(count)
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
