#pragma once

// What a person looks at, and not a program: stdout as a terminal.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::tools {

// How many characters fit into a line of stdout; nothing: it is no terminal.
std::optional<std::size_t> terminal_width();

// The same of stderr, if it is a terminal that can clear a line: TERM=dumb cannot.
std::optional<std::size_t> columns_of_bars();

// The text as a heading, bold where stdout is a terminal that has it. NO_COLOR, if it is set and
// not empty, and TERM=dumb turn it off.
std::string heading(std::string_view text);

// "498 MB": three digits, in steps of 1,000.
std::string human_bytes(std::uint64_t bytes);

// At most so many characters of a text of UTF-8, with "…" in the place of its middle.
std::string shortened(std::string_view text, std::size_t characters_max);

// Characters of a text of UTF-8.
std::size_t character_count(std::string_view text);

}  // namespace cairn::tools
