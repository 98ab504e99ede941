// usage: open DIR [--benchmark_…]
//
// How long until a checkpoint can be used? Each of DIR's payloads (see payload.h) through each of
// its three indexes, and three questions of it:
//
//     open   Checkpoint::open: afterwards each tensor can be had
//     list   open, then the name, dtype and shape of every tensor
//     one    open, then the bytes of one tensor, checked against their checksum
//
// Closing is not timed: what frees memory afterwards does not keep anybody waiting. `open` and
// `list` touch no byte of a tensor; the counter `resident` says how much of the shard lies in the
// page cache.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include "cairn/checkpoint.h"
#include "cairn/version.h"
#include "payload.h"

namespace cairn::bench {
namespace {

struct Subject {
  std::string path;
  std::string one_tensor;
};

// What is asked of a checkpoint that was just opened.
using Question = Result<void> (*)(const Checkpoint&, const Subject&);

Result<void> nothing(const Checkpoint&, const Subject&) { return {}; }

Result<void> list(const Checkpoint& checkpoint, const Subject&) {
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const Tensor tensor = checkpoint.tensor_at(i);
    benchmark::DoNotOptimize(tensor.name());
    benchmark::DoNotOptimize(tensor.dtype());
    benchmark::DoNotOptimize(tensor.shape());
  }
  return {};
}

Result<void> one(const Checkpoint& checkpoint, const Subject& subject) {
  const auto bytes = checkpoint.tensor(subject.one_tensor).and_then([](const Tensor& tensor) {
    return tensor.bytes();
  });
  if (!bytes) return bytes.error();
  benchmark::DoNotOptimize(bytes->front());
  return {};
}

void measure(benchmark::State& state, const Subject& subject, Question question) {
  using Clock = std::chrono::steady_clock;
  while (state.KeepRunning()) {
    const Clock::time_point start = Clock::now();
    const auto checkpoint = Checkpoint::open(subject.path);
    const auto answered = checkpoint ? question(*checkpoint, subject) : checkpoint.error();
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    if (!answered) return state.SkipWithError(answered.error().what.c_str());
    state.SetIterationTime(elapsed.count());
  }
  const auto checkpoint = Checkpoint::open(subject.path);
  if (!checkpoint) return;
  state.counters["resident"] = static_cast<double>(checkpoint->resident_bytes().value_or(0));
}

void add(const std::string& name, const Subject& subject) {
  constexpr std::pair<const char*, Question> kQuestions[] = {
      {"open", nothing}, {"list", list}, {"one", one}};
  for (const auto& [word, question] : kQuestions) {
    const std::string whole = name + "/" + word;
    benchmark::RegisterBenchmark(whole.c_str(), measure, subject, question)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  using namespace cairn::bench;
  benchmark::AddCustomContext("cairn", std::string(cairn::version()));
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fputs("usage: open DIR [--benchmark_...]\n", stderr);
    return 2;
  }
  const std::string directory = argv[1];
  for (const Payload& payload : kPayloads) {
    const std::string name = payload.name;
    add(name + "/cairn", {cairn_path(directory, payload), payload.one_tensor});
    add(name + "/tensorflow", {tensorflow_path(directory, payload), payload.one_tensor});
    add(name + "/safetensors", {safetensors_path(directory, payload), payload.one_tensor});
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
