#pragma once

// The two arrays that chunks are found by: one of a fixed number of elements, and one that grows.

#include <functional>

#include "format/hdf5/file.h"

namespace cairn::format::hdf5 {

// Takes the element of this number from the cursor; `filtered`: with a size and a mask.
using VisitElement =
    std::function<Decoded<void>(std::uint64_t number, Cursor& cursor, bool filtered)>;

// Errors: Corrupt; Unsupported; what `visit` says.
Decoded<void> visit_fixed_array(File& file, std::uint64_t address, const VisitElement& visit);
Decoded<void> visit_extensible_array(File& file, std::uint64_t address, const VisitElement& visit);

}  // namespace cairn::format::hdf5
