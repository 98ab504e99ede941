#pragma once

// Who may change what in a directory: locks on single bytes of the file .cairn-lock in it, which
// the kernel lets go of when the holder's process ends, however it ends.
//
// Byte 0 is the directory's: its catalog and journal, retention, pins, repair. Each prefix has one
// of the others: whoever publishes under it holds that one from the last look at what is replaced
// to the last removal, and never while a caller's bytes come. Who needs both takes the directory's
// first, and one prefix's at a time; a move, which needs that of the old and of the new one, takes
// the two in one order for all (lib/saver/move.cc). Readers take none.

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::internal {

inline constexpr std::string_view kLockName = ".cairn-lock";

// How long a lock is waited for, and until when the caller wants that. 0: Busy at once; max(): for
// ever.
struct LockWait {
  std::chrono::milliseconds at_most{30'000};
  std::stop_token stop;
};

// A byte, held as long as this lives, by this process alone: a child that was forked meanwhile does
// not prolong it. Errors of both: Busy, in a sentence that names the holder; Cancelled; Unsupported
// (the file system has no locks); Unsafe (the name is a link, or no regular file); Io.
class Lock {
 public:
  static Result<Lock> of_directory(const os::Directory& directory, const LockWait& wait);
  static Result<Lock> of_prefix(const os::Directory& directory, std::string_view base,
                                const LockWait& wait);

  // Whether somebody holds the directory's at this moment; to ask keeps nobody from it. Errors:
  // those of reading the file of locks, so that nobody knows.
  static Result<bool> directory_is_held(const os::Directory& directory);

  Lock(Lock&& other) noexcept;
  Lock& operator=(Lock&&) = delete;
  ~Lock();

 private:
  struct Request;
  static Result<Lock> take(const os::Directory& directory, const Request& wanted,
                           const LockWait& wait);
  Lock(os::File file, std::uint64_t byte) noexcept : file_(std::move(file)), byte_(byte) {}

  os::File file_;
  std::uint64_t byte_;
  bool held_ = true;
};

}  // namespace cairn::internal
