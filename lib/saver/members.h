#pragma once

// The files of a checkpoint, and their removal.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "format/cairn/journal.h"
#include "lib/os/file.h"

namespace cairn::saver {

// Whether the file is named as one of the checkpoint's: an index, P.meta, a shard, or a V1 file.
bool is_member(std::string_view file_name, std::string_view base);

// The bases of all checkpoints that have an index in a directory, sorted. `names`: what is in it.
std::vector<std::string> checkpoints_among(std::span<const std::string> names);

// The files of a checkpoint as they are now, indexes first: in that order they are to go, so that
// no index ever names a shard that is gone. P.safetensors is one of them where it is another name
// of a shard, and a V1 file where it is one and no index is there.
Result<format::JournalCheckpoint> members_of(const os::Directory& directory,
                                             std::span<const std::string> names,
                                             std::string_view base);

// Removes the files of a checkpoint, under its prefix's lock, as far as they are those that were
// meant; what is gone already is fine. false: nothing was removed, since an index is another one by
// now, and the shards may be its own. Errors: Busy, Io.
Result<bool> remove_members(const os::Directory& directory, const format::JournalCheckpoint& what);

// The same under a lock that the caller holds.
Result<bool> remove_members_held(const os::Directory& directory,
                                 const format::JournalCheckpoint& what);

}  // namespace cairn::saver
