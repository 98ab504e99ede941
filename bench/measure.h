#pragma once

// What the programs share: `PROGRAM DIR PAYLOAD [--benchmark_…]` registers its figures as
// QUESTION/CONTENDER, and each figure times one call and not what frees its result: closing keeps
// nobody waiting.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "cairn/error.h"
#include "cairn/version.h"
#include "payload.h"

namespace cairn::bench {

// Times `work`, a callable that gives a Result, again and again.
template <class Work>
void add(const std::string& name, Work work) {
  add(name, std::move(work), [] { return Result<void>{}; });
}

// The same, each time after an untimed `prepare`.
template <class Work, class Prepare>
void add(const std::string& name, Work work, Prepare prepare) {
  using Clock = std::chrono::steady_clock;
  const auto measure = [work, prepare](benchmark::State& state) {
    while (state.KeepRunning()) {
      if (const auto ready = prepare(); !ready) {
        return state.SkipWithError(ready.error().what.c_str());
      }
      const Clock::time_point start = Clock::now();
      const auto answer = work();
      const std::chrono::duration<double> elapsed = Clock::now() - start;
      if (!answer) return state.SkipWithError(answer.error().what.c_str());
      state.SetIterationTime(elapsed.count());
    }
  };
  benchmark::RegisterBenchmark(name.c_str(), measure)
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

// Times `work` on what `open` gives, which is opened once, untimed, and not before it is asked for:
// what a filter leaves out costs no memory.
template <class Open, class Work>
void add_opened(const std::string& name, Open open, Work work) {
  using Opened = typename decltype(open())::value_type;
  const auto opened = std::make_shared<std::unique_ptr<Opened>>();
  const auto prepare = [opened, open]() -> Result<void> {
    if (*opened != nullptr) return {};
    auto made = open();
    if (!made) return made.error();
    *opened = std::make_unique<Opened>(*std::move(made));
    return {};
  };
  add(name, [opened, work] { return work(**opened); }, prepare);
}

// The programs' main().
inline int run_program(int argc, char** argv, void (*add_figures)(const Subject&)) {
  benchmark::AddCustomContext("cairn", std::string(cairn::version()));
  benchmark::Initialize(&argc, argv);
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s DIR PAYLOAD [--benchmark_...]\n", argv[0]);
    return 2;
  }
  add_figures({argv[1], argv[2]});
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace cairn::bench
