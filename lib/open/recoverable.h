#pragma once

// What is there of a checkpoint that may be damaged: an index that is whole, and of its shards
// those that can be opened, however long they are. Who opens a checkpoint to use it goes by load.h,
// which wants all of it.

#include <filesystem>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/facts.h"
#include "lib/open/assemble.h"
#include "lib/open/locate.h"

namespace cairn::internal {

// What no P.index holds, and P.cairn may.
inline constexpr std::string_view kHeldByOwnAlone =
    "tensors that TensorFlow cannot hold, metadata, a pin";

struct RecoverableCheckpoint {
  Location location;
  Format format{};
  format::IndexFacts facts;  // as the index says: spans may lie outside of what is there
  std::vector<Result<OpenShard>> shards;  // parallel to facts.shards; an error: why it is not there
  std::vector<std::string> warnings;
};

// By whichever index is whole, where one of P.cairn and P.index is not; where both are, by the one
// that open() would go by. Errors: those of open, but for a shard that is missing, of another size
// or on a disk that fails; Corrupt, Io: no index is whole.
Result<RecoverableCheckpoint> find_recoverable(const std::filesystem::path& path,
                                               bool follow_links);

// Whether the error tells of bytes that are lost, and not of what the caller could mend: the disk
// fails (EIO and its like), or they are Corrupt.
bool is_damage(const Error& error) noexcept;

}  // namespace cairn::internal
