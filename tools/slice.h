#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "cairn/tensor.h"

namespace cairn::tools {

// A part of a tensor, as --slice names it.
struct Part {
  std::vector<Range> ranges;        // one per dimension; empty: the whole tensor
  std::vector<std::int64_t> shape;  // of the result: dimensions given as one index are gone
};

// Reads numpy's notation for a tensor of `shape`: "0:10,:,5". Per dimension A:B (from A up to and
// without B; either may be missing, negative ones count from the end, and what lies beyond the end
// is cut off as numpy does) or one index, which takes the dimension away. Dimensions not named are
// taken whole. Errors: Invalid.
Result<Part> parse_slice(std::string_view text, std::span<const std::int64_t> shape);

}  // namespace cairn::tools
