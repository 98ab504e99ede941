// Directories with the sticky bit, such as /tmp: all may make files there, and each may replace and
// remove only his own.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "lib/os/file.h"

namespace cairn::os {

bool Directory::may_replace(std::string_view name) const {
  struct stat directory{};
  struct stat file{};
  const uid_t user = ::geteuid();
  if (user == 0 || ::fstat(dir_.fd(), &directory) != 0) return true;
  if ((directory.st_mode & S_ISVTX) == 0 || directory.st_uid == user) return true;
  if (::fstatat(dir_.fd(), std::string(name).c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) return true;
  return file.st_uid == user;
}

}  // namespace cairn::os
