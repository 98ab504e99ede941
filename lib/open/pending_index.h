#pragma once

// The state between the renames of P.index and of P.cairn (lib/write/publisher.cc): P.index is new,
// P.cairn is old, and the new P.cairn is complete under a temporary name.

#include <optional>

#include "format/cairn/index.h"
#include "lib/open/locate.h"

namespace cairn::internal {

struct PendingIndex {
  os::OpenedFile opened;
  os::Bytes bytes;
  format::IndexView index;
};

// The P.cairn that was written for the present P.index and still has a temporary name, if there is
// one and its shards exist. std::nullopt: there is none, so P.index is used; or it was renamed
// meanwhile, and then P.cairn has changed. Errors: a temporary P.cairn cannot be read.
Result<std::optional<PendingIndex>> find_pending_index(
    const Location& location, const format::TensorFlowIndexFacts& standing);

}  // namespace cairn::internal
