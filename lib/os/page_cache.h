#pragma once

// Giving pages of files back before the kernel must take them.

#include <cstddef>
#include <span>

#include "lib/os/file.h"

namespace cairn::os {

// Takes the pages of this range of a shared mapping of a file out of the page table of this
// process. Who touches them gets them back. They stay in the page cache.
void unmap_pages(std::span<const std::byte> range) noexcept;

// Takes the file's pages out of the page cache. A wish: pages that a process maps, or that are not
// on the disk yet, stay, and so do those of file systems in memory.
void drop_from_cache(const File& file) noexcept;

}  // namespace cairn::os
