#pragma once

// The identity by which a file is recognised again: from what the system says to what an index
// stores.

#include "format/facts.h"
#include "lib/os/file.h"

namespace cairn::internal {

inline format::FileIdentity identity_of(const os::FileInfo& info) noexcept {
  return {info.size_bytes, info.mtime_ns, info.inode};
}

// Whether both are the same file or directory at this moment.
inline bool same_file(const os::FileInfo& a, const os::FileInfo& b) noexcept {
  return a.device == b.device && a.inode == b.inode;
}

// Whether it is still the same file, and nobody has written to it since.
inline bool is_unchanged(const os::FileInfo& now, const os::FileInfo& before) noexcept {
  return same_file(now, before) && identity_of(now) == identity_of(before);
}

}  // namespace cairn::internal
