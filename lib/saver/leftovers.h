#pragma once

// Indexes that stand for nothing any more.

#include <string>
#include <vector>

#include "lib/os/file.h"

namespace cairn::saver {

// The P.cairn files in the directory that outlived their checkpoints: P.index is gone, and so are
// shards. One that cannot be read is none of them: nobody knows what it stands for. Remove them
// only under the directory's lock, where no other writer can bring such a prefix back to life.
std::vector<std::string> orphan_indexes(const os::Directory& directory);

}  // namespace cairn::saver
