#pragma once

// By which a checkpoint is recognised that was copied, touched, imported or pinned.

#include "cairn/tensor.h"
#include "format/cairn/index.h"

namespace cairn::internal {

// A digest over names, dtypes, shapes, slices and checksums. Tensors without a checksum count as
// the same whatever their values are.
Digest128 digest_of_sums(const format::IndexView& index);

}  // namespace cairn::internal
