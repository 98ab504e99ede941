#pragma once

// Names and keys in messages and in files of lines. They come from files and may hold any byte.

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn::format {

// Its two lower-case hex digits.
void append_hex(std::string& out, std::uint8_t byte);

// `text` in double quotes: control bytes, quotes and what is not UTF-8 as \xNN, and cut after 120
// bytes, with the number of those that are left out. A backslash stands as it is: no terminal acts
// on it, and in an expression it is the user's own. Called as format::quoted, lest a std::string
// find std::quoted too.
std::string quoted(std::string_view text);

// Any text as one line, for our own files of lines: a backslash and a line feed stand as \\ and \n.
std::string one_line(std::string_view text);
std::string from_one_line(std::string_view line);

}  // namespace cairn::format
