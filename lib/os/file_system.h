#pragma once

// What a file lies on.

#include <string>

#include "lib/os/file.h"

namespace cairn::os {

struct FileSystem {
  std::string name;        // "ext4", "nfs"; "0x12345678" where the number has no name here
  bool is_local = false;   // known that only this machine writes to it
  bool is_memory = false;  // its files are page cache and nothing else
};

// Of an open file; of what stands at a path. What cannot be asked is "unknown", and not known to be
// local.
FileSystem file_system_of(const File& file);
FileSystem file_system_at(const std::string& path);

}  // namespace cairn::os
