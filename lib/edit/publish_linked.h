#pragma once

#include "cairn/convert.h"
#include "cairn/error.h"
#include "lib/edit/compose.h"

namespace cairn::internal {

// Makes a checkpoint of it under `options.output`: its shards get second names there, then its
// indexes are published. What stood there stands, whole, until then. Errors: Exists, without
// `replace`; Invalid (no output, or one that cannot be stored); those of import_index.
Result<Transfer> publish_linked(Composed composed, const TransferOptions& options);

}  // namespace cairn::internal
