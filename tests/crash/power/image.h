#pragma once

// A disk image that is damaged and mended thousands of times a second.
//
// A crash state differs from the one before in a few blocks, but mounting replays a journal and
// writes wherever it likes. So the image lies in shared memory twice, as it should be and as it is,
// and after each state the blocks that differ are put back. Holes stay holes: of a large image
// only what was ever written is compared.

#include <cstddef>
#include <filesystem>
#include <span>

#include "block_log.h"

namespace power {

class Image {
 public:
  // A sparse copy of `base` is made at `path`, which should lie on tmpfs.
  Image(const std::filesystem::path& base, const std::filesystem::path& path);
  Image(const Image&) = delete;
  ~Image();

  void write(const Entry& piece);                 // for one state
  void recover_from_journal(const Entry& write);  // for good: it has been flushed
  void restore();                                 // what recover_from_journal() made it

 private:
  Descriptor file_;
  std::size_t size_bytes_;
  std::byte* settled_;  // private memory
  std::byte* current_;  // the file
};

}  // namespace power
