#pragma once

// What a path leads to at this moment.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cairn/live.h"

namespace cairn::internal {

// A checkpoint that has been seen and not been opened.
struct Sighting {
  std::filesystem::path prefix;
  std::vector<SeenFile> files;   // empty: it is gone
  std::optional<Error> refused;  // it must not be opened: it lies where a catalog may not lead
  std::string warning;           // about its place; empty: none
  bool by_catalog = false;
};

// The prefixes that the path leads to, newest first, none of them looked at yet: those of the
// catalog, or the path itself. Errors: those of get_checkpoint_state.
struct Listing {
  bool by_catalog = false;
  std::vector<std::filesystem::path> prefixes;
};
Result<Listing> list_path(const std::filesystem::path& path);

Sighting look_at(const std::filesystem::path& path, const Listing& listing, std::size_t position,
                 bool follow_links);

// What inotify should watch: the catalog, P.cairn, or the file itself.
struct WatchedName {
  std::filesystem::path directory;
  std::string name;
  friend bool operator==(const WatchedName&, const WatchedName&) = default;
};
WatchedName watched_name(const std::filesystem::path& path);

}  // namespace cairn::internal
