#pragma once

// The files of a checkpoint, and their removal.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "format/cairn/journal.h"
#include "lib/os/file.h"
#include "lib/store/publisher.h"

namespace cairn::saver {

// Whether the file is named as one of the checkpoint's: an index, P.meta, a shard, or a V1 file.
bool is_member(std::string_view file_name, std::string_view base);

// The bases of all checkpoints that have an index in a directory, sorted. `names`: what is in it.
std::vector<std::string> checkpoints_among(std::span<const std::string> names);

// What is done about numbered shards where the indexes that would name them cannot be read.
enum class Unread : std::uint8_t {
  Keep,  // they stay
  Take,  // those of the one count that is there are the checkpoint's
};

// The files of a checkpoint as they are now, indexes first: in that order they are to go, so that
// no index ever names a shard that is gone. A shard is one of them where an index names it: beside
// them another's copy or save may be under way. P.safetensors is one where it is another name of
// such a shard, and a V1 file where it is one and no index is there. Errors: Io.
Result<format::JournalCheckpoint> members_of(const os::Directory& directory,
                                             std::span<const std::string> names,
                                             std::string_view base, Unread unread = Unread::Keep);

// Adds the shards that a reader of the checkpoint finds, which may have other names than the index
// says (TensorFlow's merge counts shards that it does not name). false: it cannot be opened.
bool add_opened(const os::Directory& directory, const std::string& base, store::Claims& claims);

// Removes the files of a checkpoint, under its prefix's lock, as far as they are those that were
// meant; what is gone already is fine. false: nothing was removed, since an index is another one by
// now, and the shards may be its own. Errors: Busy, Io.
Result<bool> remove_members(const os::Directory& directory, const format::JournalCheckpoint& what);

// The same under a lock that the caller holds.
Result<bool> remove_members_held(const os::Directory& directory,
                                 const format::JournalCheckpoint& what);

}  // namespace cairn::saver
