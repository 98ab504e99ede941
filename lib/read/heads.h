#pragma once

// Reading the heads of string pieces, which say where the strings themselves lie.

#include <cstddef>
#include <span>
#include <vector>

#include "cairn/exec_options.h"
#include "format/tensorflow/string_heads.h"
#include "lib/read/sums.h"

namespace cairn::internal {

// Parallel to `pieces`, which hold strings and come in the order of the files. Each byte is read
// once, however many of them lie over it. `in_memory`: of the checkpoint's memory, not of the
// files. Memory: grows with the pieces. Errors: Io, Cancelled.
Result<std::vector<format::tensorflow::StringStart>> read_string_heads(
    const OpenCheckpoint& checkpoint, std::span<const Piece> pieces, bool in_memory,
    const ExecOptions& exec);

}  // namespace cairn::internal
