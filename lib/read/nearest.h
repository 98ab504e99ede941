#pragma once

// "Did you mean": the names of an index that are closest to a mistyped name.

#include <string>
#include <string_view>
#include <vector>

#include "format/cairn/index.h"

namespace cairn::internal {

// At most three names, nearest first; those that share no more than chance with `name` are left
// out. Cost: up to a millisecond, however many names there are.
std::vector<std::string> nearest_names(const format::IndexView& index, std::string_view name);

}  // namespace cairn::internal
