#pragma once

// The library's sentences in the command's words.

#include <string>
#include <string_view>

namespace cairn::tools {

// What a sentence tells a programmer to call or to set, as what a user types: "convert()" becomes
// "'cairn convert'".
std::string in_command_words(std::string_view sentence);

}  // namespace cairn::tools
