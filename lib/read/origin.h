#pragma once

// A new checkpoint may be made from the one that it replaces. This checks that the old one is still
// as it was when it was read.

#include <array>
#include <filesystem>
#include <optional>
#include <string>

#include "cairn/error.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// The identities of P.index and P.cairn, which show whether they were replaced; std::nullopt: there
// is none.
using IndexIdentities = std::array<std::optional<format::FileIdentity>, 2>;
Result<IndexIdentities> index_identities(const os::Directory& directory, const std::string& base);

// Whether a checkpoint was read from the indexes of `base` in the directory, as far as its path
// leads there now, or one of the indexes is there.
bool was_read_from(const Parts& parts, const os::Directory& directory, const std::string& base);

// Busy: the indexes of the origin's base in the directory are not those that were read. `shown`:
// the prefix, for messages.
Result<void> check_unchanged(const Origin& origin, const os::Directory& directory,
                             const std::string& shown);

// The error for this case.
Error written_anew(const std::string& shown);

}  // namespace cairn::internal
