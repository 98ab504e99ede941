#pragma once

// A checkpoint that is made of the one it replaces: whether that is still as it was read.

#include <array>
#include <filesystem>
#include <optional>
#include <string>

#include "cairn/error.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// By what P.index and P.cairn are seen to be replaced; nothing where one is not there.
using IndexIdentities = std::array<std::optional<format::FileIdentity>, 2>;
Result<IndexIdentities> index_identities(const os::Directory& directory, const std::string& base);

// Whether a checkpoint was read from the indexes of `base` in the directory, as far as its path
// leads there now, or one of the indexes is there.
bool was_read_from(const Parts& parts, const os::Directory& directory, const std::string& base);

// Busy: the indexes of the origin's base in the directory are others than those that were read.
// `shown`: the prefix, for messages.
Result<void> check_unchanged(const Origin& origin, const os::Directory& directory,
                             const std::string& shown);

// What to say where it is so.
Error written_anew(const std::string& shown);

}  // namespace cairn::internal
