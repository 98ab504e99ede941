#pragma once

// TensorFlow's V1 checkpoints: one file named as the prefix, or PREFIX-00000-of-00003 and so on.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/open/attempt.h"
#include "lib/open/locate.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// The files of a V1 checkpoint, and its base, without the tail that a sharded one has.
struct V1Files {
  std::string base;
  std::vector<std::string> names;
};

// The V1 checkpoint that a name in this directory means: that of the prefix, of one of its files,
// or TensorFlow's word for all of them, "m-?????-of-00003". Nothing: there is none. Errors:
// NotFound (a shard is missing), Invalid (several under one prefix), Corrupt (a table that is
// damaged), Io.
Result<std::optional<V1Files>> find_v1(const os::Directory& directory, const std::string& name);

// The parts of a V1 checkpoint. Its values are decoded, each aligned to 64 bytes, into one file in
// memory for each file on the disk, whose name it has; so shards and spans are those of the memory.
// Everything is checked on the way. One attempt. Cost: O(bytes) of time, and memory for the values.
// Where there are several files, `follow_links` counts for them as for any shard.
Result<Parts> load_v1(const Location& location, bool follow_links, OpenAttempt& attempt);

// The same of one file that is open; `prefix` is for messages.
Result<Parts> load_v1_file(os::File file, const std::filesystem::path& prefix);

}  // namespace cairn::internal
