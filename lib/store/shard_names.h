#pragma once

// The names that the shards of one prefix have in a directory: which are free, and which go.

#include <cstdint>
#include <string_view>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::store {

// The smallest N, `needed` at least, for which no BASE.data-?????-of-N is there: a published name
// is never written again.
Result<std::uint32_t> free_shard_count(const os::Directory& directory, std::string_view base,
                                       std::uint32_t needed);

// Removes the shards whose names say another N, once the indexes over those that say `count` are
// durable. One that cannot be removed costs space and no more: the next save tries again.
void remove_other_shards(const os::Directory& directory, std::string_view base,
                         std::uint32_t count);

}  // namespace cairn::store
