#pragma once

#include "bench_figures.h"

namespace cairn::tools {

// safetensors and TensorFlow, in Python, each run in a process of its own: all tensors in memory.
// One that cannot read the files, or is not installed, gets a sentence instead of figures.
Result<void> measure_peers(Bench& bench);

}  // namespace cairn::tools
