// usage: verify DIR [--benchmark_…]
//
// What does checking every byte cost, and what does it cost to do it so that it cannot fault? DIR's
// `gpt2` payload (see payload.h), warm, checked in three ways:
//
//     descriptor   verify() of a mapped checkpoint: reads the file block by block and sums each
//     block memory       verify() with Access::Copy: sums memory of our own, where nothing is read
//     first_touch  one byte of each page of the mapping, without any sum: what a mapped pass pays
//                  for page faults alone, before it sums anything

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdio>
#include <string>

#include "cairn/checkpoint.h"
#include "payload.h"

namespace cairn::bench {
namespace {

constexpr std::size_t kPageBytes = 4096;

Work with_threads(const benchmark::State& state) {
  Work work;
  work.threads_max = static_cast<unsigned>(state.range(0));
  return work;
}

void check(benchmark::State& state, const std::string& path, Access access) {
  OpenOptions options;
  options.access = access;
  const auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint) return state.SkipWithError(checkpoint.error().what.c_str());
  std::uint64_t bytes = 0;
  while (state.KeepRunning()) {
    const auto seen = checkpoint->verify(with_threads(state));
    if (!seen) return state.SkipWithError(seen.error().what.c_str());
    if (!seen->damage.empty()) return state.SkipWithError("the payload is damaged");
    bytes += seen->bytes_checked;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

// The bytes of a tensor's view, each page of which was read from.
Result<std::uint64_t> touch(const Tensor& tensor) {
  const auto view = tensor.bytes();
  if (!view) return view.error();
  unsigned touched = 0;
  for (std::size_t at = 0; at < view->size(); at += kPageBytes) {
    touched += std::to_integer<unsigned>((*view)[at]);
  }
  benchmark::DoNotOptimize(touched);
  return view->size();
}

void first_touch(benchmark::State& state, const std::string& path) {
  OpenOptions options;
  options.verify = Verify::None;
  std::uint64_t bytes = 0;
  while (state.KeepRunning()) {
    const auto checkpoint = Checkpoint::open(path, options);
    if (!checkpoint) return state.SkipWithError(checkpoint.error().what.c_str());
    for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
      const auto seen = touch(checkpoint->tensor_at(i));
      if (!seen) return state.SkipWithError(seen.error().what.c_str());
      bytes += *seen;
    }
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  using namespace cairn::bench;
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fputs("usage: verify DIR [--benchmark_...]\n", stderr);
    return 2;
  }
  const std::string path = cairn_path(argv[1], kPayloads[0]);
  for (const int threads : {1, 2}) {
    benchmark::RegisterBenchmark("descriptor", check, path, cairn::Access::Shared)
        ->Arg(threads)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark("memory", check, path, cairn::Access::Copy)
        ->Arg(threads)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  benchmark::RegisterBenchmark("first_touch", first_touch, path)->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
