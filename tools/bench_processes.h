#pragma once

// Processes of their own: a server restores its model once, in a process that has just begun.

#include <optional>

#include "bench_figures.h"
#include "command_line.h"

namespace cairn::tools {

// What such a process runs: something, if these are its arguments; exit with it.
std::optional<int> run_as_process_of_bench(Arguments arguments);

// open, for the first time.
Result<void> measure_first_opens(Bench& bench);

// One process restores and touches every page; then, if asked, several at the same time.
Result<void> measure_processes(Bench& bench);

}  // namespace cairn::tools
