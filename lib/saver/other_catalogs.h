#pragma once

// What else there is in a directory of checkpoints: other catalogs, and copies.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "lib/saver/history.h"

namespace cairn::internal {

// The other catalogs of the directory, by their names: whatever reads as one, links to one too,
// also under a name that no verb gives to one; not backups (is_backup_name), and not Cairn's
// temporary files. `names`: what is in the directory.
struct OtherCatalogs {
  std::map<std::string, CheckpointState> states;
  // In sentences that say what to do about it.
  std::optional<Error> unread;   // a file of which nobody can say whether it is one
  std::optional<Error> damaged;  // a file that is one, and of which nobody can say what it lists
};
OtherCatalogs other_catalogs(const Place& place, std::span<const std::string> names);

// Whether a file, whatever its name, reads as a catalog, be it damaged. Errors: Io.
Result<bool> reads_as_catalog(const os::Directory& directory, const std::string& name);

// What the other catalogs of the directory list. `names`: what is in it.
struct OtherListings {
  std::map<std::string, std::string> listed;   // the catalog's name, by the checkpoint's base
  std::vector<std::filesystem::path> outside;  // what they list elsewhere
  std::optional<Error> unread;                 // as in OtherCatalogs
  std::optional<Error> damaged;

  // Why any checkpoint may be listed there, in a sentence; empty: all is known.
  std::string doubt() const;
  bool may_list(const std::string& base) const { return listed.contains(base) || !doubt().empty(); }
};
OtherListings other_listings(const Place& place, std::span<const std::string> names);

// What any catalog of the directory, its own among them, lists elsewhere.
std::vector<std::filesystem::path> outside_of(const History& history,
                                              const OtherListings& elsewhere);

// The checkpoint here of which `base` is a copy, as file managers and people make them: "m-2 -
// Copy", "m-2.bak", "Copy of m-2". Its index has the same bytes, and its name holds the other's.
// Not m-20 beside m-2, which may hold the same values. Nothing: none.
std::optional<std::string> original_of(const Place& place, const std::string& base,
                                       std::span<const std::string> bases);

}  // namespace cairn::internal
