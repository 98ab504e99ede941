#pragma once

// What convert and salvage share: tensors of an open checkpoint, written anew.

#include <functional>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/writer.h"
#include "lib/edit/outgoing.h"
#include "lib/open/locate.h"

namespace cairn::internal {

// What is written, and what is said of it as a whole.
struct Payload {
  const Checkpoint& checkpoint;
  std::vector<OutgoingTensor> taken;  // sorted by name
  WriterOptions writing;
  std::function<Result<void>()> unchanged;  // asked before it is published; empty: nothing to ask
};

// What the checkpoint says of itself, for a Writer: step and metadata.
WriterOptions writer_options(const Checkpoint& checkpoint);

// The bytes of P.meta; empty: there is none.
Result<std::string> meta_graph(const Location& location, bool follow_links);

// Exists: the output is a checkpoint already, and `replace` is not said.
Result<void> refuse_existing(const TransferOptions& options, Format target);

// Writes the tensors under `options.output`, checked on the way, streamed, a few blocks in memory.
// Each must be of a dtype that can be stored. transfer.casts has the rows of apply_casts(). Names
// that share all their bytes share them again. Durable when it returns. Adds to `transfer`. Errors:
// Corrupt (damage); those of Writer.
Result<void> rewrite(const Payload& payload, const TransferOptions& options, Transfer& transfer);

}  // namespace cairn::internal
