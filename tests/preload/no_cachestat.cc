// Preloaded: there is no cachestat, as before Linux 6.5 (Debian 12 has 6.1).

#include <dlfcn.h>

#include <cerrno>
#include <cstdarg>

namespace {

using SystemCall = long(long, ...);

constexpr long kCachestat = 451;

}  // namespace

extern "C" long syscall(long number, ...) noexcept {
  if (number == kCachestat) {
    errno = ENOSYS;
    return -1;
  }
  va_list given;
  va_start(given, number);
  long words[6];
  for (long& word : words) word = va_arg(given, long);
  va_end(given);
  static SystemCall* const next = reinterpret_cast<SystemCall*>(::dlsym(RTLD_NEXT, "syscall"));
  return next(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
