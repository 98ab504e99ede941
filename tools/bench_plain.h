#pragma once

#include "bench_figures.h"

namespace cairn::tools {

// What the machine does without Cairn, with the same files: pread on all cores into memory that was
// touched, and one process that reads like `cat FILES > /dev/null`.
Result<void> measure_plain(Bench& bench);

// Reads all files once, so that the page cache has them.
Result<void> warm_up(const Bench& bench);

}  // namespace cairn::tools
