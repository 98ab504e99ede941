#include "lib/live/sightings.h"

#include <ranges>
#include <utility>

#include "lib/live/seen_files.h"
#include "lib/open/catalog.h"
#include "lib/os/file.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {

Result<Listing> list_path(const std::filesystem::path& path) {
  Listing listing{false, {path}};
  const auto info = os::look(path);
  if (!info || !*info || (*info)->kind != os::FileKind::Directory) return listing;
  OpenAttempt attempt;
  CAIRN_TRY(catalog, read_catalog(path, kCatalogName, attempt));
  if (!catalog) return listing;
  listing = {true, {}};
  for (ListedEntry& entry : listed_entries(*catalog) | std::views::reverse)
    listing.prefixes.push_back(std::move(entry.path));
  return listing;
}

Sighting look_at(const std::filesystem::path& path, const Listing& listing, std::size_t position,
                 bool follow_links) {
  const std::filesystem::path& listed = listing.prefixes[position];
  if (!listing.by_catalog) return {listed, files_at(listed), {}, {}, false};
  auto entry = resolve_entry(path, listed, follow_links);
  if (!entry)
    return {listed, {}, std::move(entry).error(), {}, true};  // its files are not looked at
  auto files = files_at(entry->prefix);
  return {std::move(entry->prefix), std::move(files), {}, std::move(entry->warning), true};
}

WatchedName watched_name(const std::filesystem::path& path) {
  const auto info = os::look(path);
  if (info && *info && (*info)->kind == os::FileKind::Directory)
    return {path, std::string(kCatalogName)};
  const Prefix prefix = Prefix::of(path);
  const bool is_file = info && *info;
  return {prefix.directory, prefix.base + (is_file ? "" : std::string(kTensorFlowSuffix))};
}

}  // namespace cairn::internal
