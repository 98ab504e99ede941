#pragma once

// What convert writes: which tensors of the source, and with which names and dtypes.

#include <cstddef>
#include <span>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
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

// As they are in the target.
std::vector<TensorSpec> specs_of(std::span<const OutgoingTensor> tensors);

// The tensors that the options ask for, sorted by the names that they get. `transfer` gets the
// changes of names, a row for each cast and warnings. Reads no tensor but the object graph. Errors:
// NotFound (options.tensors), those of new_names() and object_keys(), Invalid and Unsupported (a
// cast).
Result<std::vector<OutgoingTensor>> outgoing_tensors(const Checkpoint& source, Format target,
                                                     const TransferOptions& options,
                                                     Transfer& transfer);

}  // namespace cairn::internal
