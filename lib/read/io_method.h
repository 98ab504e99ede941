#pragma once

// The choice of the I/O method for a restore: the table of cairn/restore.h as a function.

#include <cstdint>
#include <optional>
#include <string>

#include "cairn/restore.h"
#include "lib/os/file_system.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

struct IoConditions {
  std::uint64_t payload_bytes = 0;
  std::optional<std::uint64_t> resident_bytes = 0;  // of these in the page cache; nothing: unknown
  std::optional<std::uint64_t> available_bytes;
  os::FileSystem file_system;
  bool direct_reads = false;  // the file system has them
  bool can_map = true;        // and mmap
};

// Asks the system. Errors: Io.
Result<IoConditions> io_conditions(const Parts& parts);

struct IoChoice {
  IoMethod method{};
  std::string reason;
};
IoChoice choose(const IoConditions& seen);

// The same where the caller has memory for the bytes: Read or Direct.
IoChoice choose_for_memory(const IoConditions& seen);

}  // namespace cairn::internal
