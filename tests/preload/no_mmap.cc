// Preloaded: files below the directory that $NO_MMAP_BELOW names cannot be mapped (ENODEV), as on
// some network and FUSE mounts.

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using MmapCall = void*(void*, size_t, int, int, int, off64_t);

bool is_below(int fd) {
  const char* const directory = std::getenv("NO_MMAP_BELOW");
  if (fd < 0 || directory == nullptr) return false;
  char path[PATH_MAX];
  const ssize_t size =
      ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path);
  return size > 0 && std::string_view(path, static_cast<std::size_t>(size)).starts_with(directory);
}

}  // namespace

// The other name of the same function, which 32-bit offsets would tell apart.
extern "C" void* mmap64(void* address, size_t size, int protection, int flags, int fd,
                        off64_t offset) noexcept {
  if ((flags & MAP_ANONYMOUS) == 0 && is_below(fd)) {
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
