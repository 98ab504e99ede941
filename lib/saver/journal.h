#pragma once

// A save changes three things one after the other: the checkpoint, the catalog, and the files of
// those that retention lets go of. The journal, .cairn-journal, says beforehand what they will be,
// so that the next writer can finish what one that died has begun, or undo it.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/catalog.h"
#include "cairn/error.h"
#include "format/cairn/journal.h"
#include "lib/saver/history.h"

namespace cairn::internal {

inline constexpr std::string_view kJournalName = ".cairn-journal";

// Under the sticky bit: another user's journal is there, and this one may neither finish what it
// announces nor write one of his own. Nothing: none is.
std::optional<Error> refusal_of_journal(const os::Directory& directory);

// Durable from the next sync of the directory on, which everything that it announces makes before
// it takes effect. Io: a journal that is there, or the catalog, may not be replaced by this user
// (what leaves need not be in the catalog).
Result<void> write_journal(const os::Directory& directory, const format::JournalFacts& facts);

// NoSpace says what to do where there is no room for the journal of a removal; others as they are.
Error with_advice_to_free(Error error);

// The indexes of `base` and the catalog, those that are there; and the time that P.cairn is to say.
Result<format::JournalCheckpoint> before_adding(const Place& place, const std::string& base);

// Whether a name still stands for the file that it did, or still for nothing.
Result<bool> unchanged(const Place& place, const format::JournalCheckpoint& before,
                       const std::string& name);

struct Recovery {
  std::vector<std::string> names;     // what was in the directory, and what went since with it
  std::vector<std::string> warnings;  // what was finished, taken back, or could not be
};

// Finishes what a writer that died has begun, or removes what it left: the directory is then as if
// its last save had either returned or never begun; what somebody was moving or removing is there
// unless an index of it had gone. Nothing was begun: nothing happens, but temporary files go. A
// journal that refusal_of_journal() speaks of is left alone, and a warning says so. The caller
// holds the lock.
Result<Recovery> recover_from_journal(const Place& place);

// What recover_from_journal() would do about a journal, without doing it. Whoever wrote the journal
// must have ended.
struct JournalPreview {
  std::vector<SkippedCheckpoint> checkpoints;
  std::vector<std::string> files;  // of those that go
};
Result<JournalPreview> preview_journal(const Place& place);

// After a save that failed: takes back what it announced, unless its checkpoint may have been
// committed; that the next writer finds out, since after a failed sync nobody knows.
void roll_back(const Place& place, const format::JournalFacts& facts);

// There is nothing to finish any more. Not synced: to recover twice is to recover once.
void remove_journal(const os::Directory& directory);

}  // namespace cairn::internal
