// Which links need no permission.
//
// Who publishes a model may point one name of a directory at another in it (model.ckpt at
// model.ckpt-100, or all names at ..data, as Kubernetes does); that gives a reader nothing that it
// was not given already. A link that leaves the directory may lead to any file of the machine,
// so it is refused, but for one kind: a Hugging Face cache keeps each file of a repository once,
// under REPO/blobs, and a snapshot REPO/snapshots/REVISION is made of links to those.
//
// An absolute link may end below the directory too. Where it leads is looked up by its path, and
// the same place opened below the directory, step by step and without links.
//
// The kernel resolves beneath a directory by itself since 5.6 (openat2). Where it is older, or a
// sandbox refuses a call that it does not know, each step is taken by a descriptor of its own, so
// that nobody can exchange a directory behind the look at it.

#include "lib/os/links.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "lib/os/file.h"
#include "lib/os/refused.h"

namespace cairn::os {
namespace {

// Headers older than Linux 5.6 have neither.
constexpr long kOpenat2Call = 437;
struct OpenHow {
  std::uint64_t flags = 0;
  std::uint64_t mode = 0;
  std::uint64_t resolve = 0;
};
constexpr std::uint64_t kNoMagicLinks = 0x02;
constexpr std::uint64_t kBeneath = 0x08;

constexpr int kLinksMax = 40;       // as the kernel
constexpr std::size_t kUpMax = 16;  // of a link to a blob: how deep a snapshot's folders are
constexpr int kRacesMax = 8;

int fail(int number) noexcept {
  errno = number;
  return -1;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    const int kept = errno;
    if (fd_ >= 0) ::close(fd_);
    errno = kept;
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// Nothing: no link, or one that is longer than paths are.
std::optional<std::string> link_text(int directory, const char* name) {
  std::array<char, 4096> text;
  const ssize_t size = ::readlinkat(directory, name, text.data(), text.size());
  if (size < 0 || static_cast<std::size_t>(size) == text.size()) return std::nullopt;
  return std::string(text.data(), static_cast<std::size_t>(size));
}

// One walk: the directories that it is in, and the steps that are left, the next one last.
class Walk {
 public:
  Walk(int root, const std::string& name) : root_(root), steps_{name} {}

  int open(int flags) {
    while (!steps_.empty()) {
      const std::string step = std::move(steps_.back());
      steps_.pop_back();
      if (step.empty() || step == ".") continue;
      if (step == "..") {
        if (inner_.empty()) return fail(EXDEV);
        inner_.pop_back();
        continue;
      }
      if (const auto text = link_text(here(), step.c_str())) {
        if (!take(*text)) return -1;
        continue;
      }
      if (steps_.empty()) return ::openat(here(), step.c_str(), flags | O_NOFOLLOW);
      const int fd = ::openat(here(), step.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (fd < 0) return -1;
      inner_.emplace_back(fd);
    }
    return fail(EISDIR);  // the link leads to a directory
  }

 private:
  int here() const noexcept { return inner_.empty() ? root_ : inner_.back().get(); }

  // The steps of a link's text come next.
  bool take(const std::string& text) {
    const bool too_many = ++links_ > kLinksMax;
    if (too_many || text.starts_with('/')) {
      errno = too_many ? ELOOP : EXDEV;
      return false;
    }
    std::vector<std::string> parts;
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find('/', begin), text.size());
      parts.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    steps_.insert(steps_.end(), parts.rbegin(), parts.rend());
    return true;
  }

  int root_;
  std::vector<std::string> steps_;
  std::vector<Descriptor> inner_;
  int links_ = 0;
};

bool same_directory(int at, const std::string& a, const std::string& b) noexcept {
  struct stat one{};
  struct stat other{};
  return ::fstatat(at, a.c_str(), &one, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstatat(at, b.c_str(), &other, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(one.st_mode) &&
         one.st_ino == other.st_ino && one.st_dev == other.st_dev;
}

// A link from REPO/snapshots/REVISION, or a folder in it, to REPO/blobs/NAME of the same REPO.
int open_blob(int directory, const std::string& name, int flags) {
  const auto text = link_text(directory, name.c_str());
  if (!text) return fail(EXDEV);
  std::string_view rest = *text;
  std::string up;       // to REPO
  std::string up_less;  // to what must be REPO/snapshots
  std::size_t count = 0;
  for (; rest.starts_with("../"); ++count) {
    up_less = up.empty() ? "./" : up;
    up += "../";
    rest.remove_prefix(3);
  }
  constexpr std::string_view kBlobs = "blobs/";
  if (count < 2 || count > kUpMax || !rest.starts_with(kBlobs)) return fail(EXDEV);
  const std::string blob(rest.substr(kBlobs.size()));
  if (blob.empty() || blob == "." || blob == ".." || blob.find('/') != std::string::npos)
    return fail(EXDEV);
  if (!same_directory(directory, up_less, up + "snapshots")) return fail(EXDEV);
  const Descriptor blobs(
      ::openat(directory, (up + "blobs").c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (blobs.get() < 0) return fail(errno == ENOTDIR || errno == ELOOP ? EXDEV : errno);
  const int fd = ::openat(blobs.get(), blob.c_str(), flags | O_NOFOLLOW);
  return fd < 0 && errno == ELOOP ? fail(EXDEV) : fd;
}

// Opens a path below a directory on which there are no links.
int open_steps(int directory, const std::string& path, int flags) {
  std::vector<Descriptor> inner;
  const auto here = [&] { return inner.empty() ? directory : inner.back().get(); };
  std::size_t begin = 0;
  for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', begin)) {
    const std::string step = path.substr(begin, end - begin);
    const int fd = ::openat(here(), step.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -1;
    inner.emplace_back(fd);
    begin = end + 1;
  }
  return ::openat(here(), path.c_str() + begin, flags | O_NOFOLLOW);
}

// A link that is absolute, or meets one that is, and ends below the directory all the same. Where
// it leads is looked up, which opens nothing, and then opened below the directory: it may have been
// turned meanwhile.
int open_absolute(int directory, const std::string& name, int flags) {
  const std::filesystem::path root = "/proc/self/fd/" + std::to_string(directory);
  std::error_code failed;
  const std::string above = std::filesystem::canonical(root, failed).string();
  const std::string path = failed ? "" : std::filesystem::canonical(root / name, failed).string();
  // One that leads nowhere is no way out.
  if (failed) return fail(failed == std::errc::no_such_file_or_directory ? ENOENT : EXDEV);
  const std::string below = above.ends_with('/') ? above : above + "/";
  if (!path.starts_with(below)) return fail(EXDEV);
  const int fd = open_steps(directory, path.substr(below.size()), flags);
  return fd < 0 && errno == ELOOP ? fail(EXDEV) : fd;
}

}  // namespace

int walk_beneath(int directory, const std::string& name, int flags) noexcept {
  try {
    int fd = -1;
    // What was no link a moment ago may be one now.
    for (int race = 0; race < kRacesMax; ++race) {
      fd = Walk(directory, name).open(flags);
      if (fd >= 0 || (errno != ELOOP && errno != EINTR)) break;
    }
    return fd;
  } catch (...) {
    return fail(ENOMEM);
  }
}

int open_beneath(int directory, const std::string& name, int flags) noexcept {
  const OpenHow how{static_cast<std::uint64_t>(flags), 0, kBeneath | kNoMagicLinks};
  int fd = -1;
  // EAGAIN: something was renamed on the way.
  for (int race = 0; race < kRacesMax; ++race) {
    fd = static_cast<int>(::syscall(kOpenat2Call, directory, name.c_str(), &how, sizeof how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return fd;
}

int open_link_inside(int directory, const std::string& name, int flags) noexcept {
  int fd = open_beneath(directory, name, flags);
  const bool refused = means_no_such_call(errno) || errno == EINVAL || errno == EAGAIN;
  if (fd < 0 && refused) fd = walk_beneath(directory, name, flags);
  if (fd >= 0 || errno != EXDEV) return fd;
  try {
    fd = open_absolute(directory, name, flags);
    return fd >= 0 || errno != EXDEV ? fd : open_blob(directory, name, flags);
  } catch (...) {
    return fail(ENOMEM);
  }
}

Result<std::optional<std::string>> Directory::link_text(std::string_view name) const {
  const std::string file(name);
  auto text = os::link_text(dir_.fd(), file.c_str());
  if (text || errno == EINVAL || errno == ENOENT || errno == ENAMETOOLONG) return text;
  return system_error(path() + "/" + file, "cannot look at it");
}

}  // namespace cairn::os
