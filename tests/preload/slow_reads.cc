// Preloaded: each read of a file below the directory that $SLOW_READS_BELOW names takes 20 ms, as
// from a disk or a network that is slow.

#include <dlfcn.h>
#include <sys/types.h>
#include <time.h>

#include <cstddef>

#include "below.h"

extern "C" ssize_t pread64(int fd, void* buffer, std::size_t size_bytes, off64_t offset_bytes) {
  using Call = ssize_t(int, void*, std::size_t, off64_t);
  static Call* const next = reinterpret_cast<Call*>(::dlsym(RTLD_NEXT, "pread64"));
  if (is_below("SLOW_READS_BELOW", fd)) {
    const timespec pause{.tv_sec = 0, .tv_nsec = 20'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return next(fd, buffer, size_bytes, offset_bytes);
}
