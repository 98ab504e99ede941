// inotify tells of what this machine does to a directory. On a network disk others write too, and
// there it tells nothing of them, without an error: so unless the file system is known to be local,
// the caller is told to look by himself now and then.

#include "lib/os/watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lib/os/descriptor.h"
#include "lib/os/file_system.h"
#include "lib/try.h"

namespace cairn::os {
namespace {

using Clock = std::chrono::steady_clock;

// Renamed to, or closed after writing in place; and what befalls the directory itself.
constexpr std::uint32_t kEvents =
    IN_MOVED_TO | IN_CLOSE_WRITE | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR;

constexpr std::size_t kEventsBytes = 4096;

timespec until_then(Clock::time_point until) noexcept {
  const auto left = std::max(Clock::duration::zero(), until - Clock::now());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  timespec time{};
  time.tv_sec = seconds.count();
  time.tv_nsec = std::chrono::nanoseconds(left - seconds).count();
  return time;
}

}  // namespace

NameWatch::NameWatch(const std::filesystem::path& dir, std::string name)
    : dir_(dir.empty() ? "." : dir.string()),
      name_(std::move(name)),
      inotify_(above_standard_streams(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), dir_) {}

void NameWatch::attach() {
  if (inotify_.fd() < 0) return;
  // A directory that is watched already keeps its number.
  const int now = ::inotify_add_watch(inotify_.fd(), dir_.c_str(), kEvents);
  if (now == watch_) return;
  if (watch_ >= 0) ::inotify_rm_watch(inotify_.fd(), watch_);
  watch_ = now;
  local_ = file_system_at(dir_).is_local;
}

Result<void> NameWatch::wait(Clock::time_point until, std::stop_token stop) const {
  File bell(-1, dir_);
  if (stop.stop_possible()) {
    bell = File(above_standard_streams(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), dir_);
    if (bell.fd() < 0) return system_error(dir_, "cannot create an eventfd");
  }
  const std::stop_callback ring(std::move(stop), [&bell]() noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(bell.fd(), &one, sizeof one);
  });
  // poll skips descriptors below 0.
  pollfd ready[] = {{bell.fd(), POLLIN, 0}, {watch_ >= 0 ? inotify_.fd() : -1, POLLIN, 0}};
  while (true) {
    const timespec left = until_then(until);
    const int count = ::ppoll(ready, std::size(ready), &left, nullptr);
    if (count < 0 && errno != EINTR) return system_error(dir_, "cannot wait");
    if (count == 0 || (count > 0 && ready[0].revents != 0)) return {};
    if (count > 0 && take_events()) return {};
  }
}

// Empties the queue; true where something in it may concern the name.
bool NameWatch::take_events() const {
  bool ours = false;
  alignas(inotify_event) char bytes[kEventsBytes];
  while (true) {
    const ssize_t size = ::read(inotify_.fd(), bytes, sizeof bytes);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return ours;  // EAGAIN
    for (ssize_t at = 0; at < size;) {
      inotify_event event;
      std::memcpy(&event, bytes + at, sizeof event);
      // An event without a name is about the directory, or says that the queue was too short.
      ours |= event.len == 0 || name_ == bytes + at + sizeof event;
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
}

}  // namespace cairn::os
