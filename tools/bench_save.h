#pragma once

#include "bench_figures.h"

namespace cairn::tools {

// Saves the same tensors, durably, in a new directory below options.save_dir, which is removed
// afterwards. Ctrl-C stops it, and it is removed too. Errors: Cancelled; those of Saver::save.
Result<void> measure_save(Bench& bench);

}  // namespace cairn::tools
