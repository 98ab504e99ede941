// MADV_COLD and MADV_PAGEOUT are no answer. Of a shared mapping of a file the first frees nothing,
// and the second takes the pages from every process that maps the file.

#include "lib/os/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace cairn::os {

void unmap_pages(std::span<const std::byte> range) noexcept {
  if (range.empty()) return;
  const auto page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t before = reinterpret_cast<std::uintptr_t>(range.data()) % page_bytes;
  auto* const start = const_cast<std::byte*>(range.data()) - before;
  ::madvise(start, before + range.size(), MADV_DONTNEED);
}

void drop_from_cache(const File& file) noexcept {
  ::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace cairn::os
