// usage: lookup DIR PAYLOAD [--benchmark_…]
//
// What does one tensor cost?
//
//     one      from nothing to its bytes: open, find it, check them against their checksum
//     lookup   find a tensor by name in a checkpoint that is open; the mean over all of its
//     tensors,
//              asked for in an order that no cache foresees
//     read     a thousand times the bytes of one tensor into the caller's memory, out of a
//              checkpoint that is open, unchecked; plain-pread: the same bytes of the same file

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/checkpoint.h"
#include "measure.h"

namespace cairn::bench {
namespace {

Result<Checkpoint> one(const std::string& path, std::string_view name) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) return checkpoint;
  const auto bytes = checkpoint->tensor(name).and_then(&Tensor::bytes);
  if (!bytes) return bytes.error();
  benchmark::DoNotOptimize(bytes->front());
  return checkpoint;
}

constexpr int kReadsAtOnce = 1000;

void look_up(benchmark::State& state, const Checkpoint& checkpoint) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::string> names;
  names.reserve(checkpoint.tensor_count());
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    names.emplace_back(checkpoint.tensor_at(i).name());
  }
  std::shuffle(names.begin(), names.end(), std::minstd_rand(1));
  while (state.KeepRunning()) {
    const Clock::time_point start = Clock::now();
    for (const std::string& name : names) {
      const auto tensor = checkpoint.tensor(name);
      if (!tensor) return state.SkipWithError(tensor.error().what.c_str());
      benchmark::DoNotOptimize(tensor->size_bytes());
    }
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    state.SetIterationTime(elapsed.count() / static_cast<double>(names.size()));
  }
}

struct Reading {
  Checkpoint checkpoint;
  File file;
  std::string name;
  std::uint64_t offset_bytes;
  mutable std::vector<std::byte> out;
};

Result<Reading> open_reading(const Subject& subject) {
  OpenOptions options;
  options.verify = Verify::None;
  auto checkpoint = Checkpoint::open(subject.cairn(), options);
  if (!checkpoint) return checkpoint.error();
  auto file = File::open(subject.file());
  if (!file) return file.error();
  const auto tensor = checkpoint->tensor(one_tensor(*checkpoint));
  if (!tensor) return tensor.error();
  std::string name(tensor->name());
  const std::uint64_t offset_bytes = tensor->offset_bytes();
  std::vector<std::byte> out(tensor->size_bytes());
  return Reading{*std::move(checkpoint), *std::move(file), std::move(name), offset_bytes,
                 std::move(out)};
}

// The mean of many calls: one takes as long as the clock.
template <class Call>
void add_reads(const Subject& subject, const std::string& contender, const Call& call) {
  add_opened(
      "read/" + contender, [subject] { return open_reading(subject); },
      [call](const Reading& reading) -> Result<void> {
        for (int i = 0; i < kReadsAtOnce; ++i) {
          if (auto done = call(reading); !done) return done;
        }
        return {};
      });
}

void add_figures(const Subject& subject) {
  const auto checkpoint = Checkpoint::open(subject.cairn());
  if (!checkpoint) return std::perror(checkpoint.error().what.c_str());
  const std::string name = one_tensor(*checkpoint);
  const std::pair<const char*, std::string> paths[] = {
      {"cairn", subject.cairn()},
      {"cairn-tensorflow", subject.tensorflow()},
      {"cairn-safetensors", subject.safetensors()}};
  for (const auto& [contender, path] : paths) {
    add("one/" + std::string(contender), [path, name] { return one(path, name); });
  }
  benchmark::RegisterBenchmark("lookup/cairn", look_up, *checkpoint)
      ->UseManualTime()
      ->Iterations(3)
      ->Unit(benchmark::kMicrosecond);
  add_reads(subject, "cairn", [](const Reading& from) {
    const Read read{from.name, {}, from.out};
    return from.checkpoint.read({&read, 1});
  });
  add_reads(subject, "plain-pread",
            [](const Reading& from) { return from.file.read(from.out, from.offset_bytes); });
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
