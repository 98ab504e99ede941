#pragma once

// Writing the file `checkpoint`. Reading it is lib/open's.

#include <filesystem>
#include <string>
#include <string_view>

#include "cairn/error.h"
#include "format/tensorflow/state_text.h"
#include "lib/os/file.h"

namespace cairn::internal {

// What TensorFlow writes for a checkpoint that lies anywhere: where the directory itself is
// relative, relative paths are rewritten relative to it; everything else stays as it is.
std::string written_path(const std::filesystem::path& dir, const std::filesystem::path& path);

// Whether a catalog may have this name. Invalid: it is no bare file name, or one that files of
// Cairn's or of a checkpoint have.
Result<void> check_catalog_name(const std::filesystem::path& dir, std::string_view name);

// The same of one that is to be written or kept. Invalid: also one that other_catalogs() takes for
// a copy that somebody keeps, since it would not protect what it lists.
Result<void> check_written_name(const std::filesystem::path& dir, std::string_view name);

// Whether a file of Cairn's or of a checkpoint has the name.
bool is_taken_name(std::string_view name);

// Whether copies are named so that editors and people keep of a file, and TensorFlow while it
// writes: "X~", "X.bak", "X.old", "X.orig", "#X#", "X.tmp" and 32 hexadecimal digits.
bool is_backup_name(std::string_view name);

// Replaces the catalog, durably. The caller holds the directory's lock. Invalid: a path that is not
// UTF-8.
Result<void> publish_catalog(const os::Directory& directory, std::string_view latest_filename,
                             const format::tensorflow::StateFacts& facts);

}  // namespace cairn::internal
