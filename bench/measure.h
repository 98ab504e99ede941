#pragma once

// What the programs share: `PROGRAM DIR PAYLOAD [--benchmark_…]` registers its figures as
// QUESTION/CONTENDER, and each figure times one call and not what frees its result: closing keeps
// nobody waiting.

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "cairn/error.h"
#include "cairn/version.h"
#include "payload.h"
#include "plain.h"

namespace cairn::bench {

// How much memory a figure of this program may take anew: run_program() says it, settle() sees to
// it.
inline std::size_t taken_bytes = 0;

// Times `work`, a callable that gives a Result, once, after an untimed `prepare`.
template <class Call, class Prepare>
void time_once(benchmark::State& state, const Call& work, const Prepare& prepare) {
  using Clock = std::chrono::steady_clock;
  if (const auto ready = prepare(); !ready) {
    return state.SkipWithError(ready.error().what.c_str());
  }
  if (taken_bytes > 0) settle(taken_bytes);
  const Clock::time_point start = Clock::now();
  const auto answer = work();
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  if (!answer) return state.SkipWithError(answer.error().what.c_str());
  state.SetIterationTime(elapsed.count());
}

// Times `work` again and again, each time after `prepare`.
template <class Call, class Prepare>
void add(const std::string& name, const Call& work, const Prepare& prepare) {
  const auto measure = [work, prepare](benchmark::State& state) {
    while (state.KeepRunning()) time_once(state, work, prepare);
  };
  benchmark::RegisterBenchmark(name.c_str(), measure)
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

template <class Call>
void add(const std::string& name, const Call& work) {
  add(name, work, [] { return Result<void>{}; });
}

// Times `work` on what `open` gives, which is opened once, untimed, and not before it is asked for:
// what a filter leaves out costs no memory.
template <class Open, class Call>
void add_opened(const std::string& name, const Open& open, const Call& work) {
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

// The programs' main(). `copies`: how often a figure may bring the payload into memory.
inline int run_program(int argc, char** argv, void (*add_figures)(const Subject&),
                       std::size_t copies = 0) {
  benchmark::AddCustomContext("cairn", std::string(cairn::version()));
  benchmark::Initialize(&argc, argv);
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s DIR PAYLOAD [--benchmark_...]\n", argv[0]);
    return 2;
  }
  const Subject subject{argv[1], argv[2]};
  std::error_code unknown;
  const std::uintmax_t file_bytes = std::filesystem::file_size(subject.file(), unknown);
  if (!unknown) taken_bytes = copies * file_bytes;
  add_figures(subject);
  benchmark::RunSpecifiedBenchmarks();
  // What the figures hold goes before the statics of libraries do: a save may still run.
  benchmark::ClearRegisteredBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace cairn::bench
