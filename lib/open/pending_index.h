#pragma once

// Between the names of P.index and P.cairn (lib/write/publisher.cc): P.index is the new one, the
// P.cairn that stands the old one, and the new P.cairn waits, whole, under a temporary name.

#include <optional>

#include "format/cairn/index.h"
#include "lib/open/locate.h"

namespace cairn::internal {

struct PendingIndex {
  os::OpenedFile opened;
  os::Bytes bytes;
  format::IndexView index;
};

// The P.cairn that was written for the P.index that stands and has not got its name yet, if there
// is one and its shards are there. Nothing: P.index speaks for itself; or the name has come
// meanwhile, which shows in P.cairn. Errors: one that cannot be read.
Result<std::optional<PendingIndex>> find_pending_index(
    const Location& location, const format::TensorFlowIndexFacts& standing);

}  // namespace cairn::internal
