#pragma once

// Waiting, in the caller's thread, until what stands under a name changes.

#include <chrono>
#include <filesystem>
#include <stop_token>
#include <string>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::os {

// One name in a directory that may come, go and be replaced by another one.
class NameWatch {
 public:
  // Never fails: where there is no inotify, wait() is a sleep.
  NameWatch(const std::filesystem::path& dir, std::string name);

  // Watches the directory that stands at the path now. Call it before each look at the name: then
  // no change after the look is missed.
  void attach();

  // Whether every change of the name ends wait(): inotify watches, and the file system is known to
  // be local, so that nobody else can change it.
  bool sees_all() const noexcept { return watch_ >= 0 && local_; }

  // Returns when the name was written, renamed to or lost its directory; at `until`; or when stop
  // is requested. May return without any of these.
  Result<void> wait(std::chrono::steady_clock::time_point until, std::stop_token stop) const;

 private:
  bool take_events() const;

  std::string dir_;
  std::string name_;
  File inotify_;
  int watch_ = -1;
  bool local_ = false;
};

}  // namespace cairn::os
