#pragma once

// The names that the shards of one prefix have in a directory.

#include <cstdint>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::internal {

// The smallest N, `needed` at least, for which no BASE.data-?????-of-N is there: the file of a
// published shard is never overwritten. N stays free while the prefix's lock is held.
Result<std::uint32_t> free_shard_count(const os::Directory& directory, const std::string& base,
                                       std::uint32_t needed);

// The first `names` of the `count` names "BASE.data-00000-of-00003" and so on.
std::vector<std::string> shard_names(const std::string& base, std::size_t names,
                                     std::uint32_t count);

}  // namespace cairn::internal
