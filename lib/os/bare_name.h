#pragma once

#include <string>
#include <string_view>

#include "cairn/error.h"

namespace cairn::os {

// A bare name as a C string; names from files may hold anything, the kernel's interface may not.
// Unsafe: a path, or no name.
inline Result<std::string> bare(std::string_view name, const std::string& directory) {
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of(std::string_view("/\0", 2)) != std::string_view::npos) {
    return Error{Code::Unsafe, 0, directory + ": not a file name: \"" + std::string(name) + "\""};
  }
  return std::string(name);
}

}  // namespace cairn::os
