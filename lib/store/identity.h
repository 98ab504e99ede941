#pragma once

// By what a file is recognised again: the system's word for it as an index's.

#include "format/facts.h"
#include "lib/os/file.h"

namespace cairn::store {

inline format::FileIdentity identity_of(const os::FileInfo& info) noexcept {
  return {info.size_bytes, info.mtime_ns, info.inode};
}

}  // namespace cairn::store
