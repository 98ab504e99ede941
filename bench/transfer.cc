// usage: transfer DIR [--benchmark_…]
//
// What does it cost to give a checkpoint another index? DIR's payloads (see payload.h), each index
// made anew each time:
//
//     import   P.cairn beside TensorFlow's P.index and shards: import_index
//     export   P.index beside P.cairn: export_index
//     open     by P.index alone: what import is measured against
//
// Both end with syncs, which cost what the disk costs: in a directory that lies in memory they cost
// nothing, and the figure is what the library itself takes.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "cairn/convert.h"
#include "cairn/version.h"
#include "payload.h"

namespace cairn::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Times `work`, with the file `made` away before.
template <class Do>
void measure(benchmark::State& state, const std::string& made, Do work) {
  while (state.KeepRunning()) {
    std::filesystem::remove(made);
    const Clock::time_point start = Clock::now();
    const auto done = work();
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    if (!done) return state.SkipWithError(done.error().what.c_str());
    state.SetIterationTime(elapsed.count());
  }
}

template <class Do>
void add(const std::string& name, const std::string& made, Do work) {
  benchmark::RegisterBenchmark(
      name.c_str(), [made, work](benchmark::State& state) { measure(state, made, work); })
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  using namespace cairn::bench;
  benchmark::AddCustomContext("cairn", std::string(cairn::version()));
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fputs("usage: transfer DIR [--benchmark_...]\n", stderr);
    return 2;
  }
  const std::string directory = argv[1];
  for (const Payload& payload : kPayloads) {
    const std::string name = payload.name;
    const std::string prefix = tensorflow_path(directory, payload);
    add(name + "/open", prefix + ".cairn", [=] { return cairn::Checkpoint::open(prefix); });
    add(name + "/import", prefix + ".cairn", [=] { return cairn::import_index(prefix); });
    add(name + "/export", prefix + ".index",
        [=] { return cairn::export_index(prefix, cairn::Format::TensorFlow); });
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
