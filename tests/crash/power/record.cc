// Records what a workload does to a disk.
//
//   power_record IMAGE LOG SCRATCH TYPE OPTIONS COMMAND…
//
// The disk is one file of a FUSE file system, `disk`, behind a loop device. The logger below serves
// it from IMAGE and appends each write and each flush to LOG, in the order in which they arrive.
// COMMAND runs in the root of the file system on that disk; afterwards it is unmounted.
//
// The logger is a process of its own, outside the mount namespace of the rest: when the rest is
// killed, the kernel unmounts the file system, which writes to the disk, which needs a logger that
// answers or is dead, and never one that waits for this very unmount.

#define FUSE_USE_VERSION 31

#include <fcntl.h>
#include <fuse.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "block_log.h"
#include "host.h"

namespace {

namespace fs = std::filesystem;
using power::BlockLog;
using power::Descriptor;
using power::Event;

// ---- The logger ---------------------------------------------------------------------------------

struct Disk {
  Descriptor image;
  BlockLog log;
  off_t size_bytes;
};

Disk& disk() { return *static_cast<Disk*>(::fuse_get_context()->private_data); }
bool is_disk(const char* path) { return std::string_view(path) == "/disk"; }

fuse_operations operations() {
  fuse_operations answers{};
  answers.getattr = [](const char* path, struct stat* info, fuse_file_info*) {
    *info = {};
    if (!is_disk(path) && std::string_view(path) != "/") return -ENOENT;
    info->st_mode = is_disk(path) ? S_IFREG | 0600 : S_IFDIR | 0700;
    info->st_nlink = 1;
    info->st_size = is_disk(path) ? disk().size_bytes : 0;
    return 0;
  };
  answers.open = [](const char* path, fuse_file_info*) { return is_disk(path) ? 0 : -ENOENT; };
  answers.read = [](const char*, char* to, std::size_t size_bytes, off_t at, fuse_file_info*) {
    const ssize_t got = ::pread(disk().image.get(), to, size_bytes, at);
    return got < 0 ? -errno : static_cast<int>(got);
  };
  answers.write = [](const char*, const char* from, std::size_t size_bytes, off_t at,
                     fuse_file_info*) {
    const auto written = std::as_bytes(std::span(from, size_bytes));
    if (!disk().log.append({Event::Write, static_cast<std::uint64_t>(at), written})) return -errno;
    const ssize_t done = ::pwrite(disk().image.get(), from, size_bytes, at);
    return done < 0 ? -errno : static_cast<int>(done);
  };
  answers.fsync = [](const char*, int, fuse_file_info*) {
    return disk().log.append({Event::Flush, 0, {}}) ? 0 : -errno;
  };
  return answers;
}

struct Connection {
  int fd;
  int mounted;  // a pipe that closes when it is
};

// Serves the connection from the moment it is mounted until it is unmounted.
[[noreturn]] void serve(Connection connection, Disk served) {
  power::end_with_parent();
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C is for the others: they end first
  char nothing = 0;
  if (::read(connection.mounted, &nothing, 1) != 0) power::die("the connection is not mounted");
  std::string name = "blocklog";
  std::string foreground = "-f";
  std::string one_thread = "-s";
  std::string where = "/dev/fd/" + std::to_string(connection.fd);
  char* arguments[] = {name.data(), foreground.data(), one_thread.data(), where.data(), nullptr};
  const fuse_operations answers = operations();
  std::_Exit(::fuse_main(4, arguments, &answers, &served));
}

// Mounts the logger's file system at `at`, and forks the process that serves it.
pid_t start_logger(const fs::path& image, const fs::path& log, const fs::path& at) {
  const int connection = ::open("/dev/fuse", O_RDWR);
  if (connection < 0) power::skip("/dev/fuse", errno);
  const auto size_bytes = static_cast<off_t>(fs::file_size(image));
  int mounted[2];
  if (::pipe2(mounted, O_CLOEXEC) != 0) power::die("pipe", errno);
  const pid_t logger = ::fork();
  if (logger < 0) power::die("fork", errno);
  if (logger == 0) {
    ::close(mounted[1]);
    serve({connection, mounted[0]}, {power::open_file(image, O_RDWR), BlockLog(log), size_bytes});
  }
  power::leave_mount_namespace();
  const std::string options =
      "fd=" + std::to_string(connection) + ",rootmode=40000,user_id=0,group_id=0,allow_other";
  if (::mount("blocklog", at.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
    power::skip("cannot mount FUSE", errno);
  for (const int fd : {connection, mounted[0], mounted[1]}) ::close(fd);
  return logger;
}

// ---- The workload -------------------------------------------------------------------------------

int status_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) power::die("waitpid", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run(const fs::path& in, char** command) {
  const pid_t child = ::fork();
  if (child < 0) power::die("fork", errno);
  if (child == 0) {
    power::end_with_parent();
    if (::chdir(in.c_str()) != 0) power::die(in.string(), errno);
    ::execv(command[0], command);
    power::die(command[0], errno);
  }
  return status_of(child);
}

int run_on_logged_disk(const fs::path& scratch, const power::MountAs& as, char** command) {
  const power::LoopDevice device(scratch / "fuse/disk");
  const power::Mount mount(device.path(), scratch / "mnt", as);
  if (!mount.mounted())
    power::skip("cannot mount " + as.type + " with " + as.options, mount.error());
  return run(scratch / "mnt", command);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 7) power::die("usage: power_record IMAGE LOG SCRATCH TYPE OPTIONS COMMAND...");
  power::end_with_parent();
  const fs::path scratch = arguments[3];
  fs::create_directories(scratch / "fuse");
  fs::create_directories(scratch / "mnt");
  const pid_t logger = start_logger(arguments[1], arguments[2], scratch / "fuse");
  const int status = run_on_logged_disk(scratch, {arguments[4], arguments[5]}, arguments + 6);
  if (::umount2((scratch / "fuse").c_str(), 0) != 0) power::die("cannot unmount the logger", errno);
  if (const int served = status_of(logger); served != 0)
    power::die("the logger ended with " + std::to_string(served));
  return status;
}
