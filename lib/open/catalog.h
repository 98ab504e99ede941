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

// The place of a catalog: the open directory, its path as the caller gave it, and the file's name.
// Files are looked for below the descriptor, because the path may name another directory by now.
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

// The entry relative to the directory; unchanged, if its path does not begin with `dir`.
std::filesystem::path from_directory(const std::filesystem::path& dir,
                                     const std::filesystem::path& entry);

// Whether there is an index (or a V1 file) at this prefix, which the catalog of `dir` names; true
// if that cannot be found out. No directory except `dir` is opened for this.
bool checkpoint_exists(const Place& place, const std::filesystem::path& prefix);
bool checkpoint_exists(const std::filesystem::path& dir, const std::filesystem::path& prefix);

struct Entry {
  std::filesystem::path prefix;
  std::string warning;  // empty: none
  std::string base;     // of its files in the catalog's own directory; empty: they lie elsewhere
};

// The prefix that may be opened for an entry of a catalog. This is the entry itself, if its
// directory is that of the catalog or below it without a symbolic link between. If that directory
// is gone (it was moved, or the catalog comes from Windows, where paths have other slashes), it is
// the same name beside the catalog, with a warning. Unsafe: all other entries, and names that are
// symbolic links out of their directory, unless `follow_links`.
Result<Entry> resolve_entry(const Place& place, const std::filesystem::path& entry,
                            bool follow_links);
Result<Entry> resolve_entry(const std::filesystem::path& dir, const std::filesystem::path& entry,
                            bool follow_links);

// The newest entry of the catalog that opens, and why newer ones do not.
Result<LatestWhole> find_latest_whole(const std::filesystem::path& dir, std::string_view file_name,
                                      bool follow_links);

// For every entry, whether it opens.
Result<std::vector<ListedCheckpoint>> look_at_entries(const std::filesystem::path& dir,
                                                      std::string_view file_name,
                                                      bool follow_links);

// If a catalog leads to a checkpoint that cannot be opened, adds the name of the newest whole
// checkpoint to the error. That one is not opened: nobody gets older weights without knowing it.
Error with_newest_whole(Error error, const OpenAttempt& attempt, bool follow_links);

}  // namespace cairn::internal
