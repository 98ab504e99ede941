#pragma once

// A shard of values that had to be decoded: a file in memory.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "format/facts.h"
#include "lib/open/assemble.h"
#include "lib/os/file.h"

namespace cairn::internal {

class DecodedShard {
 public:
  // `path`: of the file that the values are decoded from.
  explicit DecodedShard(std::string path) : path_(std::move(path)) {}

  // Begins with the next values, aligned to 64 bytes; gives their offset.
  Result<std::uint64_t> begin();
  // Adds bytes to them.
  Result<void> add(std::span<const std::byte> bytes);
  // The span of what was added since begin(), with its sum. Its shard is 1, behind the file itself.
  format::Span end() const noexcept;

  Result<void> read_at(std::uint64_t offset_bytes, std::span<std::byte> out) const {
    return memory_->read_at(offset_bytes, out);
  }

  bool empty() const noexcept { return !memory_; }

  // Once, of a shard that is not empty: the file, and what an index says of it.
  struct Finished {
    OpenShard shard;
    format::ShardFacts facts;
  };
  Result<Finished> finish(const std::string& file_name);

 private:
  std::string path_;
  std::optional<os::File> memory_;
  std::uint64_t begin_bytes_ = 0;
  std::uint64_t end_bytes_ = 0;
  std::uint64_t live_bytes_ = 0;
  std::uint32_t crc32c_ = 0;
};

}  // namespace cairn::internal
