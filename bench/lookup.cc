// usage: lookup DIR PAYLOAD [--benchmark_…]
//
// What does one tensor cost?
//
//     one      from nothing to its bytes: open, find it, check them against their checksum
//     lookup   find a tensor by name in a checkpoint that is open; the mean over all of its
//     tensors,
//              asked for in an order that no cache foresees

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
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
