#pragma once

// By what a file is recognised again: the system's word for it as an index's.

#include "format/facts.h"
#include "lib/os/file.h"

namespace cairn::internal {

inline format::FileIdentity identity_of(const os::FileInfo& info) noexcept {
  return {info.size_bytes, info.mtime_ns, info.inode};
}

// Whether two names, or a name and what is open, are one file or directory at this moment.
inline bool same_file(const os::FileInfo& a, const os::FileInfo& b) noexcept {
  return a.device == b.device && a.inode == b.inode;
}

// Whether it is still the same file, and nobody has written to it since.
inline bool is_unchanged(const os::FileInfo& now, const os::FileInfo& before) noexcept {
  return same_file(now, before) && identity_of(now) == identity_of(before);
}

}  // namespace cairn::internal
