#pragma once

// Names and keys in messages. They come from files and may hold any byte.

#include <string>
#include <string_view>

namespace cairn::format {

// `text` in double quotes: control bytes, quotes and what is not UTF-8 as \xNN, and cut after 120
// bytes, with the number of those that are left out.
std::string quoted(std::string_view text);

}  // namespace cairn::format
