#pragma once

// Reads the heads of string tensors: the lengths, which say where the strings lie.

#include <cstddef>
#include <span>
#include <vector>

#include "cairn/exec_options.h"
#include "format/tensorflow/string_heads.h"
#include "lib/read/sums.h"

namespace cairn::internal {

// One result for each of `pieces`, which hold strings and are in the order of the files. Each byte
// is read once, however many pieces share it. `in_memory`: reads the checkpoint's memory, not the
// files. Memory: grows with the pieces. Errors: Io, Cancelled.
Result<std::vector<format::tensorflow::StringStart>> read_string_heads(
    const OpenCheckpoint& checkpoint, std::span<const Piece> pieces, bool in_memory,
    const ExecOptions& exec);

}  // namespace cairn::internal
