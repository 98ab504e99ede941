#pragma once

// The files of a checkpoint, and their removal.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "format/cairn/journal.h"
#include "lib/os/file.h"
#include "lib/write/publisher.h"

namespace cairn::internal {

// Whether the file is named as one of the checkpoint's: an index, P.meta, a shard, or a V1 file.
bool is_checkpoint_file(std::string_view file_name, std::string_view base);

// The bases of all checkpoints that have an index in a directory, sorted. `names`: what is in it.
std::vector<std::string> checkpoints_among(std::span<const std::string> names);

// What is done about numbered shards where the indexes that would name them cannot be read.
enum class UnreadableIndex : std::uint8_t {
  Keep,  // they stay
  Take,  // those of the one count that is there are the checkpoint's
};

// The files of a checkpoint as they are now, indexes first: in that order they are to go, so that
// no index ever names a shard that is gone. A shard is one of them where an index names it: beside
// them another's copy or save may be under way. P.safetensors is one where it is another name of
// such a shard, and a V1 file where it is one and no index is there. Errors: Io.
Result<format::JournalCheckpoint> checkpoint_files(const os::Directory& directory,
                                                   std::span<const std::string> names,
                                                   std::string_view base,
                                                   UnreadableIndex unread = UnreadableIndex::Keep);

// Adds the shards that a reader of the checkpoint finds, which may have other names than the index
// says (TensorFlow's merge counts shards that it does not name). false: it cannot be opened.
bool add_opened(const os::Directory& directory, const std::string& base,
                ShardReferences& references);

// How a file that is to go is recognised. After a crash its names tell too (by its ctime) whether
// it is where it is by somebody's doing since: a link made anew is the same file otherwise.
enum class IdentityCheck : std::uint8_t { ByFile, ByFileAndNames };

// What became of a checkpoint that was to go.
struct RemovalResult {
  enum class Outcome : std::uint8_t {
    Gone,
    Another,  // nothing was removed: an index is another one by now, and the shards may be its own
    Stays,    // an index may not be removed, and so nothing behind it was
    RecoverableCheckpoint,  // it is gone but for a file that may not be removed
  };
  Outcome outcome = Outcome::Gone;
  std::optional<Error> refused;  // the first file that may not be removed

  bool gone() const noexcept { return outcome == Outcome::Gone; }
};

// The part of a sentence that says, behind its prefix, why what the catalog does not list any more
// has not gone.
std::string describe_remaining(const RemovalResult& removal);

// Whether what makes it a checkpoint is there: any index of it, or all its V1 files.
Result<bool> still_stands(const os::Directory& directory, const format::JournalCheckpoint& what);

// Where both indexes are there, the one that does not speak for the checkpoint by itself goes under
// a temporary name: then one removal, that of the other, decides, and until then restore_index()
// undoes it. Empty: none needs to step aside.
Result<std::string> set_index_aside(const os::Directory& directory,
                                    const format::JournalCheckpoint& what);

// Gives an index its name again, where it has stepped aside and the other is still that of `what`.
Result<void> restore_index(const os::Directory& directory, const format::JournalCheckpoint& what);

// The sticky bit lets this user remove none of another's files. Nothing: he may remove them all.
std::optional<Error> refusal_of(const os::Directory& directory,
                                const format::JournalCheckpoint& what);

// The files that remove_checkpoint_files would remove now: those that are there still and were
// meant; none where an index is another one by now.
Result<std::vector<std::string>> what_is_left(const os::Directory& directory,
                                              const format::JournalCheckpoint& what,
                                              IdentityCheck recognised);

// Why nothing may be removed at all: the checkpoint is another by now, or another user's. Nothing:
// it may.
Result<std::optional<RemovalResult>> obstacle_to_removal(
    const os::Directory& directory, const format::JournalCheckpoint& what,
    IdentityCheck recognised = IdentityCheck::ByFile);

// Removes the files of a checkpoint, under its prefix's lock, as far as they are those that were
// meant; what is gone already is fine. What the system does not let this user remove is an outcome.
// Errors: Busy, Io.
Result<RemovalResult> remove_checkpoint_files(const os::Directory& directory,
                                              const format::JournalCheckpoint& what,
                                              IdentityCheck recognised);

// The same under a lock that the caller holds.
Result<RemovalResult> remove_checkpoint_files_held(const os::Directory& directory,
                                                   const format::JournalCheckpoint& what,
                                                   IdentityCheck recognised);

}  // namespace cairn::internal
