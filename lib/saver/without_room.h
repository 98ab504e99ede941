#pragma once

// Removal on a disk that is full. A journal and a catalog need a few kB, which what is to go frees:
// so its files go first, and the catalog is told afterwards. Who dies between the two leaves an
// entry of a checkpoint that is gone; the next writer of the catalog leaves it out.

#include <cstddef>
#include <functional>
#include <span>

#include "cairn/error.h"
#include "format/cairn/journal.h"
#include "lib/os/file.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/history.h"
#include "lib/saver/listings.h"

namespace cairn::internal {

// Whether the disk or a quota is full, so that to remove helps.
bool is_full(const Error& error) noexcept;

// Removes a checkpoint without a journal, under its prefix's lock: its indexes get temporary names,
// for which a file system has room nearly always, and then name what is to go, for a sweep too.
// Errors: those of remove_checkpoint_files; where the indexes keep their names, nothing has
// happened.
Result<RemovalResult> remove_without_journal(const os::Directory& directory,
                                             const format::JournalCheckpoint& what);

// The same under a lock that the caller holds.
Result<RemovalResult> remove_without_journal_held(const os::Directory& directory,
                                                  const format::JournalCheckpoint& what);

// Does `announce`, which is told how many of `leaving` are still there. On a full disk what leaves
// makes the room first, one after the other, as far as it gives back what the announcement takes.
Result<void> with_space(const Place& place, std::span<const format::JournalCheckpoint> leaving,
                        const std::function<Result<void>(std::size_t left)>& announce);

// Whether the journal and the catalogs of a departure find room, as far as one can know beforehand.
// NoSpace: they do not, and nothing has happened.
Result<void> check_space(const Place& place, const format::JournalCheckpoint& what,
                         const Listings& listings);

// As remove_listed(), of which `full` is the Error: what leaves is gone before the catalogs are
// told. It stays, and `full` is the answer, where it gives back too little for that, as hard links
// do.
Result<bool> remove_before_unlisting(const Place& place, const format::JournalCheckpoint& what,
                                     const Listings& listings, Error full);

}  // namespace cairn::internal
