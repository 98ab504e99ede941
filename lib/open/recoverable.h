#pragma once

// What is left of a checkpoint that may be damaged: an undamaged index, and those of its shards
// that can be opened, whatever their size. Code that opens a checkpoint to use it calls load()
// (load.h), which requires all of it.

#include <filesystem>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/facts.h"
#include "lib/open/assemble.h"
#include "lib/open/locate.h"

namespace cairn::internal {

// What a P.cairn can hold and a P.index cannot.
inline constexpr std::string_view kHeldByOwnAlone =
    "tensors that TensorFlow cannot hold, metadata, a pin";

struct RecoverableCheckpoint {
  Location location;
  Format format{};
  format::IndexFacts facts;  // as the index says: spans may lie outside of what is there
  std::vector<Result<OpenShard>> shards;  // parallel to facts.shards; an error: why it is not there
  std::vector<std::string> warnings;
};

// By the undamaged index, if one of P.cairn and P.index is damaged; if both are undamaged, by the
// one that open() would use. Errors: those of open, except for a shard that is missing, has another
// size or is on a failing disk; Corrupt, Io: both indexes are damaged.
Result<RecoverableCheckpoint> find_recoverable(const std::filesystem::path& path,
                                               bool follow_links);

// Whether the error means lost bytes, and not something that the caller can correct: the disk fails
// (EIO and similar), or Corrupt.
bool is_damage(const Error& error) noexcept;

}  // namespace cairn::internal
