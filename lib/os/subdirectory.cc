// Directories in a directory, by bare names.

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "lib/os/bare_name.h"
#include "lib/os/descriptor.h"
#include "lib/os/file.h"
#include "lib/os/refused.h"
#include "lib/try.h"

namespace cairn::os {

Result<Directory> Directory::create_directory(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  if (::mkdirat(dir_.fd(), checked.c_str(), 0777) != 0)
    return system_error(joined(name), "cannot create the directory");
  auto made = open_directory(name);
  if (!made) (void)remove_directory(name);
  return made;
}

Result<Directory> Directory::open_directory(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  std::string shown = joined(name);
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int fd = -1;
  do fd = above_standard_streams(::openat(dir_.fd(), checked.c_str(), kFlags));
  while (fd < 0 && errno == EINTR);
  if (fd >= 0) return Directory(File(fd, std::move(shown)));
  // Linux says ENOTDIR of a link too, where a directory is asked for.
  if (errno == ENOTDIR || errno == ELOOP)
    return Error{Code::Unsafe, errno, shown + ": is not a directory"};
  return system_error(shown, "cannot open the directory");
}

Result<void> Directory::remove_directory(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  if (::unlinkat(dir_.fd(), checked.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  return system_error(joined(name), "cannot remove the directory");
}

Result<void> Directory::exchange(std::string_view one, std::string_view other) const {
  CAIRN_TRY(first, bare(one, path()));
  CAIRN_TRY(second, bare(other, path()));
  if (::renameat2(dir_.fd(), first.c_str(), dir_.fd(), second.c_str(), RENAME_EXCHANGE) == 0)
    return {};
  if (errno != EINVAL && errno != EOPNOTSUPP && !means_no_such_call(errno))
    return system_error(joined(other), "cannot be exchanged with " + first);
  return Error{Code::Unsupported, errno,
               joined(other) +
                   ": this file system cannot exchange two names at once; remove what is there "
                   "first, or choose another output"};
}

Result<void> Directory::link_into(const Directory& to, std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  if (::linkat(dir_.fd(), checked.c_str(), to.dir_.fd(), checked.c_str(), 0) == 0) return {};
  return system_error(joined(name), "cannot get a second name in " + to.path());
}

}  // namespace cairn::os
