#pragma once

// Where many names lead at one moment.

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "lib/os/file.h"

namespace cairn::os {

// The text of each link is read once, so that a link through which several paths go leads all of
// them to the same place, however often it is turned between the looks.
class LinkSnapshot {
 public:
  // Relative paths begin in the directory, which must outlive this; nullptr: in the current one.
  explicit LinkSnapshot(const Directory* within) : within_(within) {}

  // What stands at a path. Nothing: no such path, or too many links. Costs a call for each part of
  // a path that no path before it had.
  Result<std::optional<FileInfo>> look(const std::filesystem::path& path);

 private:
  // What the link at this path says; nothing: no link stands there.
  std::optional<std::string> text(const std::filesystem::path& path);
  // The path without links; nothing: too many of them.
  std::optional<std::filesystem::path> resolve(const std::filesystem::path& path);

  const Directory* within_;
  std::map<std::filesystem::path, std::optional<std::string>> texts_;
};

}  // namespace cairn::os
