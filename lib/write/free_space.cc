#include "lib/write/free_space.h"

#include <algorithm>
#include <chrono>

#include "lib/write/lock.h"
#include "lib/write/publisher.h"

namespace cairn::internal {

void make_room(const os::Directory& directory) {
  const auto names = directory.names();
  // Nobody takes a lock, which others may meet, where there is nothing to do.
  if (!names || std::ranges::none_of(*names, os::is_temporary_name)) return;
  const auto lock = Lock::of_directory(directory, {std::chrono::milliseconds(0), {}});
  if (lock) sweep_all(directory, *names);
}

}  // namespace cairn::internal
