#pragma once

// Which files a preloaded module takes something away from.

#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <string>
#include <string_view>

// Whether the file lies below the directory that this variable of the environment names.
inline bool is_below(const char* variable, int fd) {
  const char* const directory = std::getenv(variable);
  if (fd < 0 || directory == nullptr) return false;
  char path[PATH_MAX];
  const ssize_t size =
      ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
  return size > 0 && std::string_view(path, static_cast<std::size_t>(size)).starts_with(directory);
}
