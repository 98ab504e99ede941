#pragma once

#include <span>
#include <string>

#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "format/facts.h"
#include "lib/os/file.h"

namespace cairn::internal {

// Computes the checksums of raw tensors that have none, by reading their bytes, each range once.
// Without a checksum, TensorFlow's index cannot name a tensor. Returns a warning that says so;
// empty: no checksum was missing. `files`: parallel to facts.shards.
Result<std::string> add_sums(format::IndexFacts& facts, std::span<const os::File> files,
                             const ExecOptions& exec);

}  // namespace cairn::internal
