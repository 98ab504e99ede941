#pragma once

// Checkpoints of TensorFlow's, of version 2: P.index, and the shards that it names.

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
  const os::File* file;  // the attempt's
  os::Bytes bytes;
  format::TensorFlowIndexFacts record;  // by what these very bytes are recognised again
};
// Errors: NotFound (there is none; the attempt remembers it), Io.
Result<TensorFlowIndex> read_tensorflow_index(const Location& location, OpenAttempt& attempt);

// The same in two steps, for who may need no more than what kind of file it is.
Result<os::OpenedFile> open_tensorflow_index(const Location& location);
Result<TensorFlowIndex> read_tensorflow_index(const os::File& file, const os::FileInfo& info);

// By P.index alone.
Result<Parts> load_tensorflow(const Location& location, bool follow_links,
                              const TensorFlowIndex& index, const OpenAttempt& attempt);

// Of how many shards their names speak: of as many as the header counts, except where TensorFlow's
// merge met a bundle without a tensor. It counts that one's shard in the header, and then numbers
// those only that own a tensor, so that TensorFlow itself looks for names that nobody has.
std::uint32_t named_shard_count(const Location& location, const std::set<std::uint32_t>& numbers,
                                std::uint32_t header_count);

}  // namespace cairn::internal
