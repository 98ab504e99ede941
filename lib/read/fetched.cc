#include "lib/read/fetched.h"

#include <algorithm>
#include <iterator>

#include "lib/try.h"

namespace cairn::internal {

Result<void> Fetched::ensure(const os::File& file, std::uint64_t offset_bytes,
                             std::span<std::byte> to) {
  const std::lock_guard lock(mutex_);
  for (std::uint64_t done = 0; done < to.size();) {
    const std::uint64_t at = offset_bytes + done;
    const auto next = ranges_.upper_bound(at);
    if (next != ranges_.begin() && std::prev(next)->second > at) {
      done = std::prev(next)->second - offset_bytes;
      continue;
    }
    const std::uint64_t gap = next == ranges_.end() ? to.size() - done : next->first - at;
    const std::span<std::byte> missing = to.subspan(done, std::min(gap, to.size() - done));
    CAIRN_CHECK(file.read_at(at, missing));
    add(at, missing.size());
    done += missing.size();
  }
  return {};
}

void Fetched::add(std::uint64_t begin, std::uint64_t size_bytes) {
  std::uint64_t end = begin + size_bytes;
  auto next = ranges_.lower_bound(begin);
  if (next != ranges_.end() && next->first == end) {
    end = next->second;
    next = ranges_.erase(next);
  }
  if (next != ranges_.begin() && std::prev(next)->second == begin) {
    std::prev(next)->second = end;
  } else {
    ranges_.emplace(begin, end);
  }
}

}  // namespace cairn::internal
