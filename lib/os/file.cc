#include "lib/os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "lib/os/bare_name.h"
#include "lib/os/descriptor.h"
#include "lib/os/links.h"
#include "lib/os/refused.h"
#include "lib/os/signals.h"
#include "lib/try.h"

namespace cairn::os {
namespace {

// One call moves at most this much: Linux stops at 2 GiB − 4 KiB.
constexpr std::size_t kTransferBytesMax = std::size_t{1} << 30;

Code code_of(int number) noexcept {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      return Code::NotFound;
    case EEXIST:
      return Code::Exists;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Code::NoSpace;
    case ENOMEM:
      return Code::OutOfMemory;
    case ELOOP:
      return Code::Unsafe;
    default:
      return Code::Io;
  }
}

// A file's time may be any number of seconds; one beyond the year 2262 wraps, and still compares.
std::int64_t nanoseconds(const timespec& time) noexcept {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u +
                                   static_cast<std::uint64_t>(time.tv_nsec));
}

FileInfo info_of(const struct stat& status) noexcept {
  FileInfo info;
  info.kind = S_ISREG(status.st_mode)   ? FileKind::Regular
              : S_ISDIR(status.st_mode) ? FileKind::Directory
              : S_ISLNK(status.st_mode) ? FileKind::Link
                                        : FileKind::Other;
  info.size_bytes = static_cast<std::uint64_t>(status.st_size);
  info.mtime_ns = nanoseconds(status.st_mtim);
  info.inode = status.st_ino;
  info.device = status.st_dev;
  info.ctime_ns = nanoseconds(status.st_ctim);
  constexpr std::uint64_t kBlockBytes = 512;  // what st_blocks counts, whatever the file system
  if (status.st_nlink == 1)
    info.freed_bytes = kBlockBytes * static_cast<std::uint64_t>(status.st_blocks);
  return info;
}

// Repeats a call that a signal interrupted.
template <class Call>
auto retry(Call call) noexcept {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

// A call that makes a descriptor.
template <class Call>
int descriptor_of(Call call) noexcept {
  return above_standard_streams(retry(call));
}

bool means_nothing_there(int number) noexcept {
  return number == ENOENT || number == ENOTDIR || number == ENAMETOOLONG || number == ELOOP;
}

// What is left of the parts after so many bytes.
std::span<iovec> behind(std::span<iovec> parts, std::size_t count) noexcept {
  while (!parts.empty() && parts.front().iov_len <= count) {
    count -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (parts.empty()) return parts;
  parts.front().iov_base = static_cast<std::byte*>(parts.front().iov_base) + count;
  parts.front().iov_len -= count;
  return parts;
}

Result<FileInfo> must_be_regular(const File& file) {
  CAIRN_TRY(info, file.info());
  if (info.kind == FileKind::Regular) return info;
  return Error{Code::Unsafe, 0, file.path() + ": is not a regular file"};
}

}  // namespace

Error system_error(const std::string& path, std::string_view what) {
  const int number = errno;
  std::string reason = std::strerror(number);
  if (number == EFBIG) reason += " (see 'ulimit -f', or the limit of the file system)";
  return Error{code_of(number), number, path + ": " + std::string(what) + ": " + reason};
}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    through_link_ = other.through_link_;
    path_ = std::move(other.path_);
  }
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Result<FileInfo> File::info() const {
  struct stat status{};
  if (::fstat(fd_, &status) != 0) return system_error(path_, "cannot look at the file");
  return info_of(status);
}

Result<std::size_t> File::read_some_at(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::size_t wanted = std::min(out.size() - done, kTransferBytesMax);
    const auto count = retry([&] {
      return ::pread(fd_, out.data() + done, wanted, static_cast<off_t>(offset_bytes + done));
    });
    if (count < 0)
      return system_error(path_, "cannot read at byte " + std::to_string(offset_bytes + done));
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  return done;
}

Result<void> File::read_at(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  CAIRN_TRY(count, read_some_at(offset_bytes, out));
  if (count == out.size()) return {};
  return Error{Code::Io, 0,
               path_ + ": was truncated after it was opened: it ends at byte " +
                   std::to_string(offset_bytes + count) + ", but bytes up to " +
                   std::to_string(offset_bytes + out.size()) + " are needed"};
}

Result<void> File::write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::size_t wanted = std::min(bytes.size() - done, kTransferBytesMax);
    const auto count = retry([&] {
      return ::pwrite(fd_, bytes.data() + done, wanted, static_cast<off_t>(offset_bytes + done));
    });
    // A full disk first writes short, and only the next call says ENOSPC.
    if (count < 0)
      return system_error(path_, "cannot write at byte " + std::to_string(offset_bytes + done));
    done += static_cast<std::size_t>(count);
  }
  return {};
}

Result<void> File::write_parts_at(std::uint64_t offset_bytes,
                                  std::span<const std::span<const std::byte>> parts) const {
  CAIRN_ASSERT(parts.size() <= kPartsMax);
  if (parts.size() == 1) return write_at(offset_bytes, parts.front());
  std::array<iovec, kPartsMax> vectors;  // 16 KiB; no memory is asked for once bytes are to go
  // The kernel reads only, but says `void*`.
  for (std::size_t i = 0; i < parts.size(); ++i)
    vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
  for (std::span left(vectors.data(), parts.size()); !left.empty();) {
    const auto count = retry([&] {
      return ::pwritev(fd_, left.data(), static_cast<int>(left.size()),
                       static_cast<off_t>(offset_bytes));
    });
    if (count < 0)
      return system_error(path_, "cannot write at byte " + std::to_string(offset_bytes));
    offset_bytes += static_cast<std::uint64_t>(count);
    left = behind(left, static_cast<std::size_t>(count));
  }
  return {};
}

Result<void> File::reserve(std::uint64_t size_bytes) const {
  if (size_bytes == 0) return {};
  const auto reserve = [&] { return ::fallocate(fd_, 0, 0, static_cast<off_t>(size_bytes)); };
  if (reserve() == 0) return {};
  if (errno == EINTR) {
    // tmpfs gives back what it has reserved so far: beside a timer that is faster than the call,
    // trying again with signals let in would never end.
    const SignalsBlocked blocked;
    if (retry(reserve) == 0) return {};
  }
  // Not every file system reserves; posix_fallocate would write every block there, so only the
  // length is set.
  if (errno != EOPNOTSUPP && !means_no_such_call(errno)) {
    return system_error(path_, "cannot reserve " + std::to_string(size_bytes) + " bytes");
  }
  if (retry([&] { return ::ftruncate(fd_, static_cast<off_t>(size_bytes)); }) == 0) return {};
  return system_error(path_, "cannot set the length to " + std::to_string(size_bytes) + " bytes");
}

Result<void> File::make_read_only() const {
  struct stat status{};
  if (::fstat(fd_, &status) != 0) return system_error(path_, "cannot stat the file");
  if (::fchmod(fd_, status.st_mode & 0555) == 0) return {};
  // A file system without modes (FAT, some network disks) loses nothing but the protection.
  if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) return {};
  return system_error(path_, "cannot remove the write permission");
}

Result<void> File::seal() const {
  // Against writing from now on (Linux 5.1): F_SEAL_WRITE would refuse read-only mappings of this
  // descriptor before Linux 6.7.
  constexpr int kSize = F_SEAL_SHRINK | F_SEAL_GROW;
  if (::fcntl(fd_, F_ADD_SEALS, kSize | F_SEAL_FUTURE_WRITE) == 0) return {};
  if (errno == EINVAL && ::fcntl(fd_, F_ADD_SEALS, kSize) == 0) return {};
  return system_error(path_, "cannot seal");
}

namespace {

// What failed, and what whoever runs the machine can do.
Error no_locks(const std::string& path) {
  const int error = errno;
  return {Code::Unsupported, error,
          path + ": cannot be locked (" + std::generic_category().message(error) +
              "): the file system has no locks; mount it with locks (Lustre: -o flock), or use "
              "another directory"};
}

Result<bool> try_flock(int fd, int operation, const std::string& path) {
  if (retry([&] { return ::flock(fd, operation | LOCK_NB); }) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return no_locks(path);
}

// Record locks of the open file, not of the process: another open in the same process does not
// share them, and closing that one does not end them.
struct flock byte_lock(std::uint64_t offset_bytes, int type) {
  struct flock lock{};
  lock.l_type = static_cast<short>(type);
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset_bytes);
  lock.l_len = 1;
  return lock;
}

}  // namespace

Result<bool> File::try_lock() const { return try_flock(fd_, LOCK_EX, path_); }

Result<bool> File::try_lock_shared() const { return try_flock(fd_, LOCK_SH, path_); }

void File::unlock() const noexcept {
  (void)retry([&] { return ::flock(fd_, LOCK_UN); });
}

Result<bool> File::try_lock_byte(std::uint64_t offset_bytes) const {
  struct flock lock = byte_lock(offset_bytes, F_WRLCK);
  if (retry([&] { return ::fcntl(fd_, F_OFD_SETLK, &lock); }) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return no_locks(path_);
}

Result<std::optional<std::uint64_t>> File::locked_byte(ByteRange range) const {
  using Byte = std::optional<std::uint64_t>;
  if (range.size_bytes == 0) return Byte();  // to fcntl it would be all that follows
  struct flock lock = byte_lock(range.offset_bytes, F_WRLCK);
  lock.l_len = static_cast<off_t>(range.size_bytes);
  if (retry([&] { return ::fcntl(fd_, F_OFD_GETLK, &lock); }) != 0) return no_locks(path_);
  if (lock.l_type == F_UNLCK) return Byte();
  return Byte(std::max(range.offset_bytes, static_cast<std::uint64_t>(lock.l_start)));
}

void File::unlock_byte(std::uint64_t offset_bytes) const noexcept {
  struct flock lock = byte_lock(offset_bytes, F_UNLCK);
  (void)retry([&] { return ::fcntl(fd_, F_OFD_SETLK, &lock); });
}

Result<void> File::start_writeback(ByteRange range) const {
  const auto done = retry([&] {
    return ::sync_file_range(fd_, static_cast<off_t>(range.offset_bytes),
                             static_cast<off_t>(range.size_bytes), SYNC_FILE_RANGE_WRITE);
  });
  // Of the disk's own failures the sync need not hear again: the file system may have let go of the
  // pages. All else means that there is no such call here.
  if (done == 0 || (errno != EIO && errno != ENOSPC && errno != EDQUOT)) return {};
  return system_error(path_, "cannot write back at byte " + std::to_string(range.offset_bytes));
}

Result<void> File::sync() const {
  if (retry([&] { return ::fsync(fd_); }) == 0) return {};
  const int number = errno;
  // Some file systems cannot sync a directory at all, which is not a lost write. Of a file it is.
  struct stat status{};
  const bool cannot = number == EINVAL || number == ENOTSUP;
  if (cannot && ::fstat(fd_, &status) == 0 && S_ISDIR(status.st_mode)) return {};
  errno = number;
  Error failed = system_error(
      path_, "cannot sync: it is not known whether the bytes are on the disk; save again");
  failed.code = Code::Io;  // to make room and go on would rely on what nobody knows
  return failed;
}

Result<Directory> Directory::open(const std::filesystem::path& path) {
  std::string name = path.empty() ? "." : path.string();
  int fd = descriptor_of([&] { return ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  // May not be listed; whoever knows a file's name may still open it below.
  if (fd < 0 && errno == EACCES)
    fd = descriptor_of([&] { return ::open(name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return system_error(name, "cannot open the directory");
  return Directory(File(fd, std::move(name)));
}

Result<Directory> Directory::open_or_create(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> missing;
  for (std::filesystem::path at = path; !at.empty(); at = at.parent_path()) {
    CAIRN_TRY(there, os::look(at));
    if (there || at == at.parent_path()) break;
    missing.push_back(at);
  }
  for (; !missing.empty(); missing.pop_back()) {
    const std::filesystem::path& next = missing.back();
    if (!next.has_filename()) continue;  // "a/b/": the slash is no directory of its own
    if (::mkdir(next.c_str(), 0777) != 0 && errno != EEXIST) {
      return system_error(next.string(), "cannot create the directory");
    }
    CAIRN_TRY(parent, open(next.parent_path()));
    CAIRN_CHECK(parent.sync());
  }
  return open(path);
}

Result<Directory> Directory::duplicate() const {
  constexpr int kLowest = 3;  // below are the standard streams, which others may take for theirs
  const int fd = ::fcntl(dir_.fd(), F_DUPFD_CLOEXEC, kLowest);
  if (fd < 0) return system_error(path(), "cannot open the directory again");
  return Directory(File(fd, path()));
}

std::string Directory::path_now() const {
  std::error_code failed;
  const auto now =
      std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(dir_.fd()), failed);
  return failed ? std::string() : now.string();
}

std::string Directory::joined(std::string_view name) const {
  if (dir_.path() == ".") return std::string(name);
  return (std::filesystem::path(dir_.path()) / name).string();
}

Result<std::optional<FileInfo>> Directory::look(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  struct stat status{};
  if (::fstatat(dir_.fd(), checked.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
    return std::optional(info_of(status));
  }
  if (errno == ENOENT || errno == ENAMETOOLONG) return std::optional<FileInfo>();
  return system_error(joined(name), "cannot look at the file");
}

Result<std::optional<FileInfo>> Directory::look_from(const std::filesystem::path& path,
                                                     Links links) const {
  struct stat status{};
  const std::string& name = path.empty() ? std::string(".") : path.native();
  const int flags = links == Links::Refuse ? AT_SYMLINK_NOFOLLOW : 0;
  if (::fstatat(dir_.fd(), name.c_str(), &status, flags) == 0)
    return std::optional(info_of(status));
  if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG)
    return std::optional<FileInfo>();
  return system_error(joined(name), "cannot look at it");
}

bool Directory::exists(std::string_view name) const {
  const auto checked = bare(name, path());
  if (!checked) return false;
  // Not faccessat: some C libraries make faccessat2 of it, which old sandboxes do not know.
  struct stat status{};
  return ::fstatat(dir_.fd(), checked->c_str(), &status, 0) == 0 || !means_nothing_there(errno);
}

Result<OpenedFile> Directory::open_seen(std::string_view name, Links links) const {
  CAIRN_TRY(checked, bare(name, path()));
  std::string shown = joined(name);  // before there is a descriptor that a bad_alloc could leak
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  int fd = descriptor_of([&] { return ::openat(dir_.fd(), checked.c_str(), kFlags | O_NOFOLLOW); });
  const bool is_link = fd < 0 && errno == ELOOP;
  if (is_link && links == Links::Refuse)
    return Error{Code::Unsafe, ELOOP, shown + ": is a symbolic link"};
  if (is_link && links == Links::Inside)
    fd = descriptor_of([&] { return open_link_inside(dir_.fd(), checked, kFlags); });
  if (is_link && links == Links::Follow)
    fd = descriptor_of([&] { return ::openat(dir_.fd(), checked.c_str(), kFlags); });
  if (fd < 0 && errno == EXDEV && links == Links::Inside) {
    return Error{Code::Unsafe, EXDEV,
                 shown +
                     ": is a symbolic link that leads out of its directory; if you trust it, use "
                     "follow_links (--follow-links)"};
  }
  if (fd < 0) return system_error(shown, "cannot open");
  File file(fd, std::move(shown), is_link);
  CAIRN_TRY(info, must_be_regular(file));
  return OpenedFile{std::move(file), info};
}

Result<File> Directory::open_file(std::string_view name, Links links) const {
  return open_seen(name, links).transform([](OpenedFile seen) { return std::move(seen.file); });
}

Result<File> Directory::create_file(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  std::string shown = joined(name);
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  const int fd = descriptor_of([&] { return ::openat(dir_.fd(), checked.c_str(), flags, 0666); });
  if (fd < 0) return system_error(shown, "cannot create");
  return File(fd, std::move(shown));
}

Result<File> Directory::open_or_create_file(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  std::string shown = joined(name);
  // First as it is: in a directory for all, Linux refuses O_CREAT on a file of somebody else's.
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  int fd = -1;
  for (int attempt = 0; attempt < 2; ++attempt) {
    fd = descriptor_of([&] { return ::openat(dir_.fd(), checked.c_str(), flags); });
    if (fd >= 0 || errno != ENOENT) break;
    const int creating = flags | O_CREAT | O_EXCL;
    fd = descriptor_of([&] { return ::openat(dir_.fd(), checked.c_str(), creating, 0666); });
    if (fd >= 0) {
      // Whoever may write to the directory may write to the file, whatever the umask.
      struct stat status{};
      if (::fstat(dir_.fd(), &status) == 0)
        (void)::fchmod(fd, (status.st_mode & 0666) | S_IRUSR | S_IWUSR);
    }
    if (fd >= 0 || errno != EEXIST) break;
  }
  if (fd < 0 && errno == ELOOP) return Error{Code::Unsafe, ELOOP, shown + ": is a symbolic link"};
  if (fd < 0) return system_error(shown, "cannot open or create");
  File file(fd, std::move(shown));
  CAIRN_CHECK(must_be_regular(file));
  return file;
}

Result<void> Directory::rename(std::string_view from, std::string_view to) const {
  CAIRN_TRY(source, bare(from, path()));
  CAIRN_TRY(target, bare(to, path()));
  if (::renameat(dir_.fd(), source.c_str(), dir_.fd(), target.c_str()) == 0) return {};
  return system_error(joined(from), "cannot rename to " + target);
}

namespace {

// Where a name can neither be left alone nor linked: first a file of our own takes it, and is
// replaced. Who dies in between leaves one without a byte.
Result<void> rename_over_own(const Directory& directory, const std::string& from,
                             const std::string& to) {
  CAIRN_CHECK(directory.create_file(to));
  auto done = directory.rename(from, to);
  if (!done) (void)directory.remove(to);
  return done;
}

}  // namespace

Result<void> Directory::rename_new(std::string_view from, std::string_view to) const {
  CAIRN_TRY(source, bare(from, path()));
  CAIRN_TRY(target, bare(to, path()));
  if (::renameat2(dir_.fd(), source.c_str(), dir_.fd(), target.c_str(), RENAME_NOREPLACE) == 0)
    return {};
  if (errno == EINVAL || means_no_such_call(errno)) {
    // Not every file system can promise it; a link does, and takes two steps.
    if (::linkat(dir_.fd(), source.c_str(), dir_.fd(), target.c_str(), 0) == 0) return remove(from);
    if (errno == EOPNOTSUPP || means_no_such_call(errno))
      return rename_over_own(*this, source, target);
  }
  return system_error(joined(target), "cannot get this name");
}

Result<void> Directory::remove(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  if (::unlinkat(dir_.fd(), checked.c_str(), 0) == 0 || errno == ENOENT) return {};
  return system_error(joined(name), "cannot remove");
}

Result<void> Directory::link(const File& file, std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  // Through the descriptor: the path may name another file by now. AT_EMPTY_PATH would need a
  // capability.
  const std::string source = "/proc/self/fd/" + std::to_string(file.fd());
  if (::linkat(AT_FDCWD, source.c_str(), dir_.fd(), checked.c_str(), AT_SYMLINK_FOLLOW) == 0)
    return {};
  return system_error(joined(name), "cannot link to " + file.path());
}

Result<std::vector<std::string>> Directory::names() const {
  const int fd =
      descriptor_of([&] { return ::openat(dir_.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return system_error(path(), "cannot list the directory");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd), ::closedir);
  if (!stream) {
    ::close(fd);
    return system_error(path(), "cannot list the directory");
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return system_error(path(), "cannot list the directory");
  return names;
}

Result<File> memory_file(std::string path) {
  const int fd =
      descriptor_of([] { return ::memfd_create("cairn", MFD_CLOEXEC | MFD_ALLOW_SEALING); });
  if (fd < 0) return system_error(path, "cannot create a file in memory");
  return File(fd, std::move(path));
}

Result<std::optional<FileInfo>> look(const std::filesystem::path& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0) return std::optional(info_of(status));
  if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG)
    return std::optional<FileInfo>();
  return system_error(path.string(), "cannot look at it");
}

bool is_link(const std::filesystem::path& path) noexcept {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
}

Result<Bytes> read_whole(const File& file, std::uint64_t size_bytes_max) {
  CAIRN_TRY(info, file.info());
  return read_whole(file, info, size_bytes_max);
}

Result<Bytes> read_whole(const File& file, const FileInfo& info, std::uint64_t size_bytes_max) {
  if (info.size_bytes > size_bytes_max) {
    return Error{Code::Unsupported, 0,
                 file.path() + ": has " + std::to_string(info.size_bytes) +
                     " bytes, more than the limit of " + std::to_string(size_bytes_max) +
                     " for such a file"};
  }
  Bytes bytes(info.size_bytes);
  CAIRN_CHECK(file.read_at(0, bytes));
  return bytes;
}

Result<void> clone_blocks(const File& source, const File& target) {
  if (::ioctl(target.fd(), FICLONE, source.fd()) == 0) return {};
  return system_error(target.path(), "cannot share blocks with " + source.path());
}

std::int64_t now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now);
}

std::string process_name() {
  utsname system{};
  const bool named = ::uname(&system) == 0;
  return "process " + std::to_string(::getpid()) + (named ? " on " : "") + system.nodename;
}

}  // namespace cairn::os
