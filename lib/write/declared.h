#pragma once

// What a Writer is told before the first byte.

#include <span>
#include <string>

#include "cairn/error.h"
#include "cairn/writer.h"

namespace cairn::internal {

// What can be said of specs, sorted by name, and of the options without looking at the disk.
// Errors: those of Writer::create.
Result<void> check_announced(const std::string& prefix, std::span<const TensorSpec> specs,
                             const WriterOptions& options);

}  // namespace cairn::internal
