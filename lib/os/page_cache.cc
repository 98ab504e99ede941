// MADV_COLD and MADV_PAGEOUT are no answer. Of a shared mapping of a file the first frees nothing,
// and the second takes the pages from every process that maps the file.

#include "lib/os/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace cairn::os {
namespace {

// Before Linux 6.5 headers there is neither a wrapper nor a number for it.
constexpr long kCachestatCall = 451;

struct CachestatRange {
  std::uint64_t offset_bytes;
  std::uint64_t size_bytes;
};
struct Cachestat {
  std::uint64_t cached_pages, dirty_pages, writeback_pages, evicted_pages, recently_evicted_pages;
};

}  // namespace

void unmap_pages(std::span<const std::byte> range) noexcept {
  if (range.empty()) return;
  const auto page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t before = reinterpret_cast<std::uintptr_t>(range.data()) % page_bytes;
  auto* const start = const_cast<std::byte*>(range.data()) - before;
  ::madvise(start, before + range.size(), MADV_DONTNEED);
}

void drop_from_cache(const File& file, std::uint64_t offset_bytes,
                     std::uint64_t size_bytes) noexcept {
  ::posix_fadvise(file.fd(), static_cast<off_t>(offset_bytes), static_cast<off_t>(size_bytes),
                  POSIX_FADV_DONTNEED);
}

std::optional<std::uint64_t> cached_bytes(const File& file, std::uint64_t offset_bytes,
                                          std::uint64_t size_bytes) noexcept {
  CachestatRange range{offset_bytes, size_bytes};
  Cachestat pages{};
  if (::syscall(kCachestatCall, file.fd(), &range, &pages, 0) != 0) return std::nullopt;
  const auto page_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return std::min(pages.cached_pages * page_bytes, size_bytes);
}

}  // namespace cairn::os
