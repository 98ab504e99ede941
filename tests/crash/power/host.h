#pragma once

// What a power cut needs of this machine: loop devices, mounts of our own, and a way to say that it
// has none of that.
//
// Nothing here outlives its process. Mounts lie in a namespace of the process, loop devices detach
// when their last user lets go: whatever kills us, the kernel cleans up.

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace power {

// The exit status of a test that cannot run here.
inline constexpr int kSkipped = 77;

// Ends the program with a sentence: 2, it is broken; 77, it cannot run here.
[[noreturn]] void die(const std::string& what, int os_errno = 0);
[[noreturn]] void skip(const std::string& what, int os_errno = 0);

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// Dies where the file cannot be opened.
Descriptor open_file(const std::filesystem::path& path, int flags);
std::vector<std::byte> read_file(const std::filesystem::path& path);

// From now on this process ends when its parent does.
void end_with_parent();

// From now on this process's mounts are its own, and go with it.
void leave_mount_namespace();

// A file as a block device. Skips where the kernel refuses.
class LoopDevice {
 public:
  explicit LoopDevice(const std::filesystem::path& file);
  const std::string& path() const noexcept { return path_; }
  // What the kernel remembers of the device is forgotten: somebody has changed the file.
  void forget_cache() const;

 private:
  Descriptor device_;
  std::string path_;
};

// How a file system is mounted.
struct MountAs {
  std::string type;     // ext4, xfs
  std::string options;  // data=ordered, say
  bool read_only = false;
};

// A mount that ends with the object. `mounted` says whether there is one: a crash state may be so
// broken that there is none.
class Mount {
 public:
  Mount(const std::string& device, std::filesystem::path at, const MountAs& as);
  Mount(const Mount&) = delete;
  ~Mount();
  bool mounted() const noexcept { return error_ == 0; }
  int error() const noexcept { return error_; }

 private:
  std::filesystem::path at_;
  int error_ = 0;
};

}  // namespace power
