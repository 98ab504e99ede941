#pragma once

// Reading the file `checkpoint`, and deciding which of its entries may be opened. Writing it is
// lib/saver's.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/catalog.h"
#include "lib/open/attempt.h"
#include "lib/os/file.h"

namespace cairn::internal {

inline constexpr std::string_view kCatalogName = "checkpoint";

// Where a catalog is: the open directory, how its owner spells it, and the file's name. Files are
// looked for below the descriptor: the path may name another directory by now.
struct Place {
  const std::filesystem::path& dir;
  const os::Directory& directory;
  std::string_view latest_filename;
  bool follow_links = false;  // its entries' files may be links that leave it
};

// The catalog of a directory, its paths as TensorFlow resolves them: relative ones joined to `dir`
// as it is spelt. One attempt.
Result<std::optional<CheckpointState>> read_catalog(const Place& place, OpenAttempt& attempt);
Result<std::optional<CheckpointState>> read_catalog(const std::filesystem::path& dir,
                                                    std::string_view file_name,
                                                    OpenAttempt& attempt);

// The entries of a catalog with their times, if it has any: oldest first, the latest once and last.
struct ListedEntry {
  std::filesystem::path path;
  std::optional<double> time_s;
};
std::vector<ListedEntry> listed_entries(const CheckpointState& state);

// An entry as it is written relative to the directory; one that is not spelt through `dir` as it
// is.
std::filesystem::path from_directory(const std::filesystem::path& dir,
                                     const std::filesystem::path& entry);

// Whether an index (or a V1 file) stands at this prefix, which the catalog of `dir` names; one that
// cannot be looked at does. OtherListings than in `dir` no directory is opened to find out.
bool checkpoint_exists(const Place& place, const std::filesystem::path& prefix);
bool checkpoint_exists(const std::filesystem::path& dir, const std::filesystem::path& prefix);

struct Entry {
  std::filesystem::path prefix;
  std::string warning;  // empty: none
  std::string base;     // of its files in the catalog's own directory; empty: they lie elsewhere
};

// What may be opened for a catalog's entry: itself, where its directory is the catalog's own,
// however spelt, or lies below it without a link on the way; the same name beside the catalog, with
// a warning, where it is gone (the directory was moved, or comes from Windows, whose paths have
// other slashes); Unsafe otherwise, or where the name is a symbolic link that leads out of
// its directory, unless `follow_links`.
Result<Entry> resolve_entry(const Place& place, const std::filesystem::path& entry,
                            bool follow_links);
Result<Entry> resolve_entry(const std::filesystem::path& dir, const std::filesystem::path& entry,
                            bool follow_links);

// The newest entry of the catalog that opens, and why newer ones do not.
Result<LatestWhole> find_latest_whole(const std::filesystem::path& dir, std::string_view file_name,
                                      bool follow_links);

// Of every entry whether it opens.
Result<std::vector<ListedCheckpoint>> look_at_entries(const std::filesystem::path& dir,
                                                      std::string_view file_name,
                                                      bool follow_links);

// Never silently older weights: where a catalog led to what cannot be opened, the newest whole
// checkpoint is named, not opened.
Error with_newest_whole(Error error, const OpenAttempt& attempt, bool follow_links);

}  // namespace cairn::internal
