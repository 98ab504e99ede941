#pragma once

// What of a file lies in the page cache; giving pages back before the kernel must take them.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "lib/os/file.h"

namespace cairn::os {

// Takes the pages of this range of a shared mapping of a file out of the page table of this
// process. Who touches them gets them back. They stay in the page cache.
void unmap_pages(std::span<const std::byte> range) noexcept;

// Takes the file's pages out of the page cache; size 0: to its end. A wish: pages that a process
// maps, or that are not on the disk yet, stay, and so do those of file systems in memory.
void drop_from_cache(const File& file, std::uint64_t offset_bytes = 0,
                     std::uint64_t size_bytes = 0) noexcept;

// How many of these bytes lie in the page cache. Nothing: the kernel does not say, and errno why.
std::optional<std::uint64_t> cached_bytes(const File& file, std::uint64_t offset_bytes,
                                          std::uint64_t size_bytes) noexcept;

}  // namespace cairn::os
