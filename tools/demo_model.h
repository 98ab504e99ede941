#pragma once

#include <filesystem>

#include "cairn/error.h"

namespace cairn::tools {

// Writes a model of GPT-2's size and shapes under `prefix`, restores it with a cold and a warm page
// cache beside a plain copying read, and prints the times.
Result<void> demo_model(const std::filesystem::path& prefix);

}  // namespace cairn::tools
