#include "lib/write/free_space.h"

#include <algorithm>
#include <chrono>

#include "lib/write/lock.h"
#include "lib/write/model_directory.h"
#include "lib/write/publisher.h"

namespace cairn::internal {

namespace {

bool is_dead(const os::Directory& directory, const std::string& name) {
  if (!os::is_temporary_name(name)) return false;
  const auto file = directory.open_file(name, os::Links::Refuse);
  return file ? file->try_lock().value_or(false) : is_dead_model_directory(directory, name);
}

}  // namespace

Result<void> remove_stale_files(const os::Directory& directory) {
  const auto names = directory.names();
  // Nobody takes a lock, which others may meet, where there is nothing to do.
  const auto dead = [&](const std::string& name) { return is_dead(directory, name); };
  if (!names || std::ranges::none_of(*names, dead)) return {};
  const auto lock = Lock::of_directory(directory, {std::chrono::milliseconds(0), {}});
  if (!lock) return {};
  for (const std::string& name : *names) {
    if (is_dead_model_directory(directory, name)) remove_dead_model_directory(directory, name);
  }
  return sweep_all(directory, *names);
}

Result<void> check_locks(const os::Directory& directory, const os::File& own) {
  constexpr std::uint64_t kAnyByte = 0;
  if (own.try_lock_byte(kAnyByte)) {
    own.unlock_byte(kAnyByte);
    return {};
  }
  const auto lock = Lock::of_directory(directory, {std::chrono::milliseconds(0), {}});
  if (lock || lock.error().code == Code::Busy) return {};
  return lock.error();
}

}  // namespace cairn::internal
