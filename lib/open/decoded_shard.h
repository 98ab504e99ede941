#pragma once

// A shard of values that are decoded when the file is opened: a file in memory.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "format/facts.h"
#include "lib/open/file_formats.h"
#include "lib/os/file.h"

namespace cairn::internal {

class DecodedShard {
 public:
  // `path`: of the file that the values are decoded from.
  explicit DecodedShard(const std::string& path) : path_(path + " (decoded)") {}

  // Begins the next values, aligned to 64 bytes. Returns their offset.
  std::uint64_t begin() noexcept;
  // Adds bytes to them.
  Result<void> add(std::span<const std::byte> bytes);
  // The span of what was added since begin(), with its sum; `shard`: the number of this one.
  format::Span end(std::uint32_t shard) const noexcept;

  // Whether nothing was added yet. If something was, file() has the bytes.
  bool empty() const noexcept { return !memory_; }
  const os::File& file() const noexcept { return *memory_; }

  // Call once, at the end: makes this the last shard of the index, unless it is empty.
  Result<void> finish(const std::string& file_name, FileIndex& index);

 private:
  std::string path_;
  std::optional<os::File> memory_;
  std::uint64_t begin_bytes_ = 0;
  std::uint64_t end_bytes_ = 0;
  std::uint64_t live_bytes_ = 0;
  std::uint32_t crc32c_ = 0;
};

// OutOfMemory: the bytes are more than half of the available memory (so a small file cannot take
// all of it). The message begins with `what` and ends with `hint`.
struct WantedMemory {
  std::uint64_t bytes = 0;
  std::string what;
  std::string hint;
};
Result<void> check_memory(const WantedMemory& wanted);

}  // namespace cairn::internal
