#pragma once

// Indexes that stand for nothing any more.

#include <span>
#include <string>
#include <vector>

#include "lib/os/file.h"

namespace cairn::internal {

// The P.cairn files in the directory that outlived their checkpoints: P.index is gone, and so are
// shards. One that cannot be read is none of them: nobody knows what it stands for.
// `names`: what is in the directory.
std::vector<std::string> orphan_indexes(const os::Directory& directory,
                                        std::span<const std::string> names);

// Removes them, each under its prefix's lock, where nobody can bring it back to life. One that
// somebody publishes under stays, as does what cannot be removed.
void remove_orphan_indexes(const os::Directory& directory, std::span<const std::string> names);

}  // namespace cairn::internal
