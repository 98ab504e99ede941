// A disk that goes bad: a FUSE file system that shows the files of a directory, and answers EIO for
// the bytes of its shards from a given one on.
//
//   fault_sick_disk SOURCE MOUNTPOINT FIRST_SICK_BYTE
//
// Runs in the foreground until it is unmounted.

#define FUSE_USE_VERSION 31

#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

struct Disk {
  std::string source;
  off_t first_sick_byte = 0;
};

const Disk& disk() { return *static_cast<const Disk*>(::fuse_get_context()->private_data); }
std::string real(const char* path) { return disk().source + path; }

bool is_sick(std::string_view path, off_t end) {
  return path.find(".data-") != std::string_view::npos && end > disk().first_sick_byte;
}

fuse_operations operations() {
  fuse_operations answers{};
  answers.getattr = [](const char* path, struct stat* info, fuse_file_info*) {
    return ::stat(real(path).c_str(), info) == 0 ? 0 : -errno;
  };
  answers.readdir = [](const char* path, void* out, fuse_fill_dir_t add, off_t, fuse_file_info*,
                       fuse_readdir_flags) {
    DIR* const listed = ::opendir(real(path).c_str());
    if (listed == nullptr) return -errno;
    while (const dirent* const entry = ::readdir(listed))
      add(out, entry->d_name, nullptr, 0, fuse_fill_dir_flags{});
    ::closedir(listed);
    return 0;
  };
  answers.open = [](const char* path, fuse_file_info* file) {
    const int fd = ::open(real(path).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    file->fh = static_cast<std::uint64_t>(fd);
    return 0;
  };
  answers.release = [](const char*, fuse_file_info* file) {
    return ::close(static_cast<int>(file->fh));
  };
  answers.read = [](const char* path, char* to, std::size_t size_bytes, off_t at,
                    fuse_file_info* file) {
    const ssize_t got = ::pread(static_cast<int>(file->fh), to, size_bytes, at);
    if (got < 0) return -errno;
    return is_sick(path, at + got) ? -EIO : static_cast<int>(got);
  };
  return answers;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: fault_sick_disk SOURCE MOUNTPOINT FIRST_SICK_BYTE\n", stderr);
    return 2;
  }
  Disk shown{argv[1], static_cast<off_t>(std::atoll(argv[3]))};
  std::string name = argv[0];
  std::string foreground = "-f";
  char* arguments[] = {name.data(), foreground.data(), argv[2]};
  const fuse_operations answers = operations();
  return ::fuse_main(3, arguments, &answers, &shown);
}
