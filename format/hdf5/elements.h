#pragma once

// The elements of a dataset that does not lie in the file as they are: chunks put together, filters
// undone, and the fill value where nothing was written.

#include <functional>

#include "format/hdf5/dataset.h"

namespace cairn::format::hdf5 {

// Takes what comes next of the elements, row-major.
using Sink = std::function<Decoded<void>(std::span<const std::byte>)>;

// Bytes of memory that decode_elements() takes for itself at once.
std::uint64_t working_bytes(const Dataset& set);

// Gives all elements to `sink`, in as many parts as it likes. Errors: Corrupt; Unsupported: a
// filter that is not known; those of the file and of `sink`.
Decoded<void> decode_elements(File& file, const Dataset& set, const Sink& sink);

}  // namespace cairn::format::hdf5
