#pragma once

// Reading the file `checkpoint`, and deciding which of its entries may be opened. Writing it is
// lib/saver's.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "cairn/catalog.h"
#include "lib/os/file.h"

namespace cairn::compat {

inline constexpr std::string_view kCatalogName = "checkpoint";

// The catalog of a directory, its paths as TensorFlow resolves them: relative ones joined to `dir`
// as it is spelt.
Result<std::optional<CheckpointState>> read_catalog(const std::filesystem::path& dir,
                                                    std::string_view file_name);

// Whether an index (or a V1 file) stands at this prefix; one that cannot be looked at does.
bool checkpoint_exists(const std::filesystem::path& prefix);

struct Entry {
  std::filesystem::path prefix;
  std::string notice;  // empty: none
};

// What may be opened for a catalog's entry: itself, where its directory is the catalog's own,
// however spelt; the same name beside the catalog, with a notice, where it is gone (the directory
// was moved); Unsafe otherwise, unless `follow_links`.
Result<Entry> resolve_entry(const std::filesystem::path& dir, const std::filesystem::path& entry,
                            bool follow_links);

// The newest entry that opens, and why newer ones do not.
LatestWhole find_latest_whole(const std::filesystem::path& dir, const CheckpointState& state,
                              bool follow_links);

}  // namespace cairn::compat
