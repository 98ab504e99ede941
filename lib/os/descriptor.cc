#include "lib/os/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "lib/try.h"

namespace cairn::os {

int above_standard_streams(int fd) noexcept {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  const int above = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  ::close(fd);
  errno = error;
  return above;
}

Result<File> duplicate(int fd, std::string name) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 && errno == EBADF) {
    return Error{Code::Invalid, EBADF,
                 name + ": the descriptor " + std::to_string(fd) + " is not open"};
  }
  const int copy = flags < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (copy < 0) return system_error(name, "cannot duplicate its descriptor");
  File file(copy, std::move(name));
  CAIRN_TRY(info, file.info());
  const bool by_path_alone = (flags & O_PATH) != 0 && info.kind != FileKind::Directory;
  if ((flags & O_ACCMODE) != O_WRONLY && !by_path_alone) return file;
  return Error{Code::Invalid, 0,
               file.path() + ": the descriptor " + std::to_string(fd) +
                   " is not open for reading; open the file with O_RDONLY or O_RDWR"};
}

}  // namespace cairn::os
