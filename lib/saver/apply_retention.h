#pragma once

// What the decisions of retention mean for a directory: for its catalog, and for its files.

#include <span>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "format/cairn/journal.h"
#include "lib/saver/history.h"
#include "lib/saver/retention.h"

namespace cairn::internal {

// What lies in another directory leaves the catalog and stays; what leads there by a link stays
// listed. Of those that are to go, the ones that another catalog of the directory lists leave this
// one and stay; where nobody can say what another one lists, the rest stays listed. As a pinned one
// stays what a link of something that stays leads to, and what may be pinned for all that anybody
// can read. `result` says so from then on. What to say of them, in sentences. `names`: what is
// in the directory. Errors: Io.
Result<std::vector<std::string>> protect_referenced(const Place& place,
                                                    std::span<const std::string> names,
                                                    const History& history,
                                                    RetentionResult& result);

// Takes those that leave the catalog out of it, and turns the grid.
void apply(const RetentionResult& result, std::span<const Retention> rules, History& history);

// Writes down the grid, where it has turned and no save is there to do it. Errors: those of
// change_saver_metadata.
Result<void> write_grid(const Place& place, const History& history, const LockWait& wait);

// The files of those that are to go. What lies outside of the directory is left alone.
Result<std::vector<format::JournalCheckpoint>> files_to_remove(const Place& place,
                                                               std::span<const std::string> names,
                                                               const History& history,
                                                               const RetentionResult& result);

}  // namespace cairn::internal
