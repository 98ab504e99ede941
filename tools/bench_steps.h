#pragma once

#include "bench_figures.h"

namespace cairn::tools {

// Fills in what the checkpoint is, and measures Cairn's steps in this process: open (also for the
// first time, in processes of their own), touch, verify, copy, restore.
Result<void> measure_steps(Bench& bench);

}  // namespace cairn::tools
