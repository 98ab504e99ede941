#include "host.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace power {
namespace {

std::string sentence(const std::string& what, int os_errno) {
  return os_errno == 0 ? what : what + ": " + std::strerror(os_errno);
}

}  // namespace

void die(const std::string& what, int os_errno) {
  std::fprintf(stderr, "power: %s\n", sentence(what, os_errno).c_str());
  std::exit(2);
}

void skip(const std::string& what, int os_errno) {
  std::printf("skipped: %s\n", sentence(what, os_errno).c_str());
  std::exit(kSkipped);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Descriptor open_file(const std::filesystem::path& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0) die(path.string(), errno);
  return Descriptor(fd);
}

std::vector<std::byte> read_file(const std::filesystem::path& path) {
  const Descriptor file = open_file(path, O_RDONLY);
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) die(path.string(), errno);
  std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got <= 0) die(path.string(), errno);
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

void end_with_parent() { ::prctl(PR_SET_PDEATHSIG, SIGKILL); }

void leave_mount_namespace() {
  if (::unshare(CLONE_NEWNS) != 0) skip("no mount namespace of our own", errno);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    skip("no private mounts", errno);
}

LoopDevice::LoopDevice(const std::filesystem::path& file) {
  const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) skip("/dev/loop-control", errno);
  const Descriptor controls(control);
  const Descriptor backing = open_file(file, O_RDWR);
  loop_config config{};
  config.fd = static_cast<__u32>(backing.get());
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  constexpr int kAttempts = 64;  // somebody else may be quicker at the one that was free
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) skip("no free loop device", errno);
    path_ = "/dev/loop" + std::to_string(number);
    const int fd = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) skip(path_, errno);
    device_ = Descriptor(fd);
    if (::ioctl(fd, LOOP_CONFIGURE, &config) == 0) return;
    if (errno != EBUSY) skip(path_, errno);
  }
  skip("no loop device is left");
}

void LoopDevice::forget_cache() const {
  if (::ioctl(device_.get(), BLKFLSBUF) != 0) die(path_, errno);
}

Mount::Mount(const std::string& device, std::filesystem::path at, const MountAs& as)
    : at_(std::move(at)) {
  unsigned long flags = MS_NOATIME;
  if (as.read_only) flags |= MS_RDONLY;
  const int status =
      ::mount(device.c_str(), at_.c_str(), as.type.c_str(), flags, as.options.c_str());
  if (status != 0) error_ = errno;
}

Mount::~Mount() {
  if (mounted() && ::umount2(at_.c_str(), 0) != 0) die("cannot unmount " + at_.string(), errno);
}

}  // namespace power
