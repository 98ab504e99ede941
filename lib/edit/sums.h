#pragma once

#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "lib/edit/compose.h"

namespace cairn::internal {

// Computes the checksums of raw tensors that have none, by reading their bytes; a warning says so.
// Without one, TensorFlow's index could not name them.
Result<void> add_sums(Composed& composed, const ExecOptions& exec);

}  // namespace cairn::internal
