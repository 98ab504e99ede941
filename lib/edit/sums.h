#pragma once

#include "cairn/error.h"
#include "cairn/work.h"
#include "lib/edit/compose.h"

namespace cairn::internal {

// Computes the checksums of raw tensors that have none, by reading their bytes; a notice says so.
// Without one, TensorFlow's index could not name them.
Result<void> add_sums(Composed& composed, const Work& work);

}  // namespace cairn::internal
