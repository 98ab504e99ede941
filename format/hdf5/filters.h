#pragma once

// The filters of chunks, undone.

#include <vector>

#include "format/hdf5/dataset.h"

namespace cairn::format::hdf5 {

// What a chunk's stored bytes become, of which there must be `chunk_bytes`. A bit of `skipped` is
// set for each filter that the chunk was not passed through. Errors: Corrupt; Unsupported: a filter
// that is not known.
Decoded<std::vector<std::byte>> undo_filters(std::vector<std::byte> bytes, const Dataset& set,
                                             std::uint32_t skipped, std::uint64_t chunk_bytes);

// The sum of the filter fletcher32, as HDF5 computes it.
std::uint32_t fletcher32(std::span<const std::byte> bytes) noexcept;

}  // namespace cairn::format::hdf5
