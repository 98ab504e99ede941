#pragma once

// What happened to a disk, in order: its writes, its flushes, and what the workload said meanwhile.
//
// The logger and the workload are two processes that append to one file. Each entry goes there in
// one call with O_APPEND, so that none is torn, and a mark that a workload writes after a call has
// returned stands behind every flush that this call has waited for.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "host.h"

namespace power {

enum class Event : std::uint32_t { Write = 1, Flush, Mark };

struct Entry {
  Event event{};
  std::uint64_t offset_bytes = 0;    // of a write: where on the disk
  std::span<const std::byte> bytes;  // of a write: what; of a mark: its text
};

class BlockLog {
 public:
  explicit BlockLog(const std::filesystem::path& path);
  // False: errno says why.
  bool append(const Entry& entry) const;
  bool mark(std::string_view text) const;

 private:
  Descriptor file_;
};

// The entries of a log. They borrow its bytes.
std::vector<Entry> entries_of(std::span<const std::byte> log);

}  // namespace power
