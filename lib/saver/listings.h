#pragma once

// Which catalogs of a directory list a checkpoint, and the steps by which one leaves: every catalog
// is told before a file goes.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "format/cairn/journal.h"
#include "lib/open/locate.h"
#include "lib/saver/history.h"
#include "lib/write/lock.h"

namespace cairn::internal {

struct Listings {
  bool own = false;                 // the place's own catalog lists it
  bool latest = false;              // as its latest
  std::vector<std::string> others;  // other catalogs of the directory that list it
  std::optional<Error> damaged;     // another catalog of it, of which nobody knows what it lists

  // The names of all of them.
  std::vector<std::string> names(const Place& place) const;
};

// `names`: what is in the directory. Errors: those of read_history.
Result<Listings> listings_of(const Place& place, std::span<const std::string> names,
                             const std::string& base);

// A checkpoint that is to leave: its files as they were when it was looked at, and the name that
// takes its place in each catalog; no such: it goes from them.
struct ListedRemoval {
  format::JournalCheckpoint what;
  std::optional<std::string> successor;
};

// Whether this user may take it away, and take it out of the catalogs, as far as the sticky bit
// says, and nothing that stays is a link to it. `names`: what is in the directory. Errors: Io
// (refusal_of_journal(), too); Unsupported: such a link is there.
Result<void> check_removable(const Place& place, std::span<const std::string> names,
                             const format::JournalCheckpoint& what, const Listings& listings);

// Tells the catalogs, the place's own last, and removes the files, all of it durably. Who finds
// that its process died in between finishes it by the journal where the removal has begun. False:
// another has written it anew meanwhile who takes no lock, and its files stay. The caller holds the
// directory's lock and the prefix's, and nothing is left to recover. Errors: Io, NoSpace; where no
// index had gone the catalogs list it as before.
Result<bool> remove_listed(const Place& place, const ListedRemoval& leaving,
                           const Listings& listings);

// The same of a checkpoint in one file that no catalog can name: removes it, durably, where it is
// `file` still. The caller holds its prefix's lock.
Result<bool> remove_listed_file(const Location& location, const os::File& file);

// The location of a checkpoint that is to leave, as locate_named. Where what is left of it
// has no index, a process may have died while it left: that is finished first.
struct RemovalQuery {
  const std::filesystem::path& path;
  bool follow_links = false;
  std::string_view latest_filename;
};
struct RemovalTarget {
  Location location;
  std::vector<std::string> warnings;  // what was finished
};
Result<RemovalTarget> locate_for_removal(const RemovalQuery& asked, const LockWait& wait);

// Unsupported: it is the variables of a SavedModel, which is a directory.
Result<void> refuse_saved_model(const Location& location);

// A sentence about what is left of the place's own catalog when its latest has left.
std::string describe_latest(const Place& place);

}  // namespace cairn::internal
