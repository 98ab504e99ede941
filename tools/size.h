#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cairn::tools {

// "5GB" (of 1000 each), "5GiB" (of 1024 each), "1.5 GB", "4096": so many bytes, at least 1.
// Nothing: it is none of these, or more than 2^63.
std::optional<std::uint64_t> parse_size(std::string_view text);

}  // namespace cairn::tools
