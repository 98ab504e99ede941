#pragma once

// Writing the file `checkpoint`. Reading it is lib/compat's.

#include <filesystem>
#include <string>
#include <string_view>

#include "cairn/error.h"
#include "format/tensorflow/state_text.h"
#include "lib/os/file.h"

namespace cairn::saver {

// What TensorFlow writes for a checkpoint that lies anywhere: where the directory itself is
// relative, relative paths are rewritten relative to it; everything else stays as it is.
std::string written_path(const std::filesystem::path& dir, const std::filesystem::path& path);

// Whether a catalog may have this name. Invalid: it is no bare file name, or one that files of
// Cairn's or of a checkpoint have.
Result<void> check_catalog_name(const std::filesystem::path& dir, std::string_view name);

// Replaces the catalog, durably. The caller holds the directory's lock. Invalid: a path that is not
// UTF-8.
Result<void> publish_catalog(const os::Directory& directory, std::string_view latest_filename,
                             const format::tensorflow::StateFacts& facts);

}  // namespace cairn::saver
