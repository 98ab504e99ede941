#pragma once

#include <filesystem>

#include "cairn/convert.h"

namespace cairn::internal {

// import_index() of a file of another format: writes FILE.cairn beside it.
Result<Transfer> import_file(const std::filesystem::path& source, const TransferOptions& options);

}  // namespace cairn::internal
