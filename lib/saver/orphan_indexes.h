#pragma once

// Indexes that stand for nothing any more.

#include <span>
#include <string>
#include <vector>

#include "lib/os/file.h"
#include "lib/saver/journal.h"

namespace cairn::internal {

// The P.cairn files in the directory that outlived their checkpoints: P.index is gone, and so is
// every shard, whatever its name has become; it is not pinned, and not younger than a day. One that
// cannot be read is none of them: nobody knows what it stands for. `names`: what is in the
// directory. `now_s`: since the epoch.
std::vector<std::string> orphan_indexes(const os::Directory& directory,
                                        std::span<const std::string> names, double now_s);

// Removes those that no catalog lists and no link leads to, each under its prefix's lock, where
// nobody can bring it back to life. One that somebody publishes under stays, as does what cannot be
// removed. What went, in sentences.
std::vector<std::string> remove_orphan_indexes(const Place& place,
                                               std::span<const std::string> names, double now_s);

// recover_from_journal(), and then this: for who can say what went.
Result<Recovery> recover_and_sweep(const Place& place, double now_s);

}  // namespace cairn::internal
