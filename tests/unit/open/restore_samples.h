#pragma once

// What the tests of restoring have in common.

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "tests/unit/scratch.h"

namespace cairn::test {

// The shard of the checkpoint "p" that has contents().
inline constexpr const char* kShard = "p.data-00000-of-00002";

// Whether the file system of the tests has reads past the page cache.
inline bool has_direct_reads(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

inline std::vector<Content> contents() {
  return {raw("big", DType::Float32, {3, 1'000'000}), raw("byte", DType::Uint8, {1}),
          raw("empty", DType::Float32, {0}), raw("odd", DType::Uint8, {5'000'003}),
          text("words", {2}, {"one", "two"})};
}

}  // namespace cairn::test
