// Preloaded: files below the directory that $NO_LOCKS_BELOW names cannot be locked, as on Lustre
// without `-o flock` or an NFS server without a lock daemon; the errno is $NO_LOCKS_ERRNO.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>

#include "below.h"

namespace {

using FcntlCall = int(int, int, ...);
using FlockCall = int(int, int);

bool refused(int fd) {
  const char* const number = std::getenv("NO_LOCKS_ERRNO");
  if (number == nullptr || !is_below("NO_LOCKS_BELOW", fd)) return false;
  errno = std::atoi(number);
  return true;
}

bool locks(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK ||
         command == F_OFD_SETLKW;
}

}  // namespace

extern "C" int fcntl64(int fd, int command, ...) {
  va_list given;
  va_start(given, command);
  void* const argument = va_arg(given, void*);
  va_end(given);
  if (locks(command) && refused(fd)) return -1;
  static FcntlCall* const next = reinterpret_cast<FcntlCall*>(::dlsym(RTLD_NEXT, "fcntl64"));
  return next(fd, command, argument);
}

// The other name of the same function, which 32-bit offsets would tell apart.
extern "C" int fcntl_of_old(int fd, int command, ...) __asm__("fcntl");
extern "C" int fcntl_of_old(int fd, int command, ...) {
  va_list given;
  va_start(given, command);
  void* const argument = va_arg(given, void*);
  va_end(given);
  return fcntl64(fd, command, argument);
}

extern "C" int flock(int fd, int operation) noexcept {
  if (refused(fd)) return -1;
  static FlockCall* const next = reinterpret_cast<FlockCall*>(::dlsym(RTLD_NEXT, "flock"));
  return next(fd, operation);
}
