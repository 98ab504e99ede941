#pragma once

// One writer per directory: a lock on the file .cairn-lock in it, which the kernel lets go of when
// the holder's process ends, however it ends.

#include <chrono>
#include <stop_token>
#include <string_view>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::saver {

inline constexpr std::string_view kLockName = ".cairn-lock";

// How long those wait who change the catalog alone: a Saver holds the lock while it writes a
// checkpoint.
inline constexpr std::chrono::seconds kCatalogWait{10};

// Held as long as it lives. A child that was forked meanwhile holds it too.
class DirectoryLock {
 public:
  // Waits as long as `wait` says. Errors: Busy, in a sentence that names the holder; Cancelled;
  // Unsupported (the file system has no locks); Unsafe (the name is a link, or no regular file);
  // Io.
  static Result<DirectoryLock> take(const os::Directory& directory, std::chrono::milliseconds wait,
                                    const std::stop_token& stop = {});

 private:
  explicit DirectoryLock(os::File file) noexcept : file_(std::move(file)) {}
  os::File file_;
};

}  // namespace cairn::saver
