#pragma once

// TensorFlow's checkpoints of version 2: P.index, and the shards that it names.

#include <cstdint>
#include <optional>
#include <set>

#include "format/facts.h"
#include "lib/open/attempt.h"
#include "lib/open/locate.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// P.index, read once and whole: TensorFlow may replace it, or truncate it in place, at any time.
struct TensorFlowIndex {
  const os::File* file;  // owned by the OpenAttempt
  os::Bytes bytes;
  format::TensorFlowIndexFacts record;  // identity and digest of exactly these bytes
};
// Errors: NotFound (there is none; the attempt remembers it), Io.
Result<TensorFlowIndex> read_tensorflow_index(const Location& location, OpenAttempt& attempt);

// The same in two steps, for callers that may need only the identity of the file.
Result<os::OpenedFile> open_tensorflow_index(const Location& location);
Result<TensorFlowIndex> read_tensorflow_index(const os::File& file, const os::FileInfo& info);

// Opens the checkpoint by P.index alone; a P.cairn is not looked at.
Result<Parts> load_tensorflow(const Location& location, bool follow_links,
                              const TensorFlowIndex& index, const OpenAttempt& attempt);

// The number of shards in the names of the shard files ("-of-N"). It is the number in the header,
// except if TensorFlow merged a bundle without tensors: then the header counts the shard of that
// bundle, but the names count only shards that own a tensor, and TensorFlow itself does not find
// them.
std::uint32_t named_shard_count(const Location& location, const std::set<std::uint32_t>& numbers,
                                std::uint32_t header_count);

}  // namespace cairn::internal
