// The deliberately wrong subject: linked into the workload, it takes syncs away.
//
// POWER_WITHOUT says which: those of "files", those of "directories", "all".

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

extern "C" int fsync(int fd) {
  const char* said = std::getenv("POWER_WITHOUT");
  const std::string_view without = said ? said : "";
  struct stat info{};
  if (::fstat(fd, &info) != 0) return -1;
  if (without == "all" || without == (S_ISDIR(info.st_mode) ? "directories" : "files")) return 0;
  return static_cast<int>(::syscall(SYS_fsync, fd));
}
