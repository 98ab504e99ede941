#pragma once

// Which way a checkpoint is restored: the table of cairn/restore.h, as a function of what was seen.

#include <cstdint>
#include <optional>
#include <string>

#include "cairn/restore.h"
#include "lib/os/file_system.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

struct Surroundings {
  std::uint64_t payload_bytes = 0;
  std::optional<std::uint64_t> resident_bytes = 0;  // of these in the page cache; nothing: unknown
  std::optional<std::uint64_t> available_bytes;
  os::FileSystem file_system;
  bool direct_reads = false;  // the file system has them
  bool can_map = true;        // and mmap
};

// Asks the system. Errors: Io.
Result<Surroundings> surroundings_of(const Parts& parts);

struct Choice {
  Way way{};
  std::string reason;
};
Choice choose(const Surroundings& seen);

}  // namespace cairn::internal
