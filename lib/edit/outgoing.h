#pragma once

// What convert writes: which tensors of the source, and as what.

#include <cstddef>
#include <span>
#include <vector>

#include "cairn/tensor.h"
#include "format/cairn/index.h"

namespace cairn::internal {

struct OutgoingTensor {
  std::size_t position = 0;  // in the source
  TensorSpec spec;           // in the target
};

// These tensors as they are in the source.
std::vector<OutgoingTensor> as_stored(const format::IndexView& index,
                                      std::span<const std::size_t> positions);

}  // namespace cairn::internal
