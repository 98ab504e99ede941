// Preloaded: files below the directory that $NO_MMAP_BELOW names cannot be mapped (ENODEV), as on
// some network and FUSE mounts.

#include <dlfcn.h>
#include <sys/mman.h>

#include <cerrno>

#include "below.h"

namespace {

using MmapCall = void*(void*, size_t, int, int, int, off64_t);

}  // namespace

// The other name of the same function, which 32-bit offsets would tell apart.
extern "C" void* mmap64(void* address, size_t size, int protection, int flags, int fd,
                        off64_t offset) noexcept {
  if ((flags & MAP_ANONYMOUS) == 0 && is_below("NO_MMAP_BELOW", fd)) {
    errno = ENODEV;
    return MAP_FAILED;
  }
  static MmapCall* const next = reinterpret_cast<MmapCall*>(::dlsym(RTLD_NEXT, "mmap64"));
  return next(address, size, protection, flags, fd, offset);
}

extern "C" void* mmap_of_old(void* address, size_t size, int protection, int flags, int fd,
                             off64_t offset) noexcept __asm__("mmap");
extern "C" void* mmap_of_old(void* address, size_t size, int protection, int flags, int fd,
                             off64_t offset) noexcept {
  return mmap64(address, size, protection, flags, fd, offset);
}
