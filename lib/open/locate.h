#pragma once

// From a path of any kind to the checkpoint that it belongs to.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "cairn/format_options.h"
#include "lib/open/attempt.h"
#include "lib/os/file.h"

namespace cairn::internal {

enum class Kind : std::uint8_t { Prefix, File, TensorFlowV1 };

struct FileFormat;

// A checkpoint's place: an open directory, and the base with which the names of its files begin.
struct Location {
  Kind kind{};
  os::Directory directory;
  std::string base;              // for a checkpoint in one file: the whole name of that file
  std::filesystem::path prefix;  // as given, without a member's suffix
  std::vector<std::string> warnings;
  std::vector<std::string> v1_files;        // of a V1 checkpoint: their names
  os::Links links = os::Links::Inside;      // where symbolic links to its indexes or file may lead
  const FileFormat* file_format = nullptr;  // of Kind::File
  FormatOptions formats = {};               // as the caller says
  bool index_only = false;                  // the same: no shard is opened

  std::string file(std::string_view suffix) const { return base + std::string(suffix); }
  bool has(std::string_view suffix) const { return directory.exists(file(suffix)); }
};

inline os::Links links_of(bool follow_links) noexcept {
  return follow_links ? os::Links::Follow : os::Links::Inside;
}

// One attempt. Errors: NotFound; Invalid: a prefix of several V1 checkpoints; Unsupported: it is
// not a checkpoint, and the message says what it is; Unsafe: a catalog leads out of its directory.
Result<Location> locate(const std::filesystem::path& path, bool follow_links, OpenAttempt& attempt);

// The location of a checkpoint whose own name is given: its prefix, or its one file. Invalid: the
// path only leads to one, as a directory or another file of a checkpoint does. To change or remove
// a checkpoint, the user must name it.
Result<Location> locate_named(const std::filesystem::path& path, bool follow_links);

// The file of another format for which the location's P.cairn is the index (FILE.cairn);
// std::nullopt: there is no such file.
std::optional<Location> as_file(const Location& location);

// Whether a directory is a SavedModel.
bool is_saved_model(const std::filesystem::path& dir);

// The location of a prefix that has an index, or is a V1 checkpoint; NotFound if it has neither.
Result<Location> locate_prefix(const std::filesystem::path& prefix);

// The same in a directory that is open already; `prefix` is for messages, and becomes the prefix of
// the location.
Result<Location> locate_in(os::Directory directory, const std::string& base,
                           const std::filesystem::path& prefix);

// What lies under a bare name in a directory that is open: a prefix, or a file; `shown` as there.
Result<Location> locate_below(os::Directory directory, const std::string& name,
                              const std::filesystem::path& shown, os::Links links);

}  // namespace cairn::internal
