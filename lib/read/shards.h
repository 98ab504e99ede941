#pragma once

// The shards of an open checkpoint in this process: where their bytes lie in memory, and which of
// them are there.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/facts.h"
#include "lib/os/file.h"
#include "lib/os/guarded.h"
#include "lib/os/mapping.h"
#include "lib/read/decoded_members.h"
#include "lib/read/fetched.h"

namespace cairn::internal {

// The size of the blocks that are read, copied or summed at once: such a block stays in the
// second-level cache.
inline constexpr std::uint64_t kCachedBlockBytes = 256u << 10;

// A gap of at most so many bytes costs less to read than to jump over.
inline constexpr std::uint64_t kReadGapBytesMax = 4096;

class Shards {
 public:
  // One file for each shard, at least as large as the index records. The files must outlive this
  // object. `decoded` fills the last one, which is in memory; nullptr: nothing has to be decoded.
  Shards(std::span<const os::File> files, Access access, std::shared_ptr<DecodedMembers> decoded)
      : files_(files), access_(access), decoded_(std::move(decoded)) {}

  // Gives the next shard its address range of `size_bytes`.
  Result<void> place(std::uint64_t size_bytes);

  // The same, with memory of others, into which it will be read (Access::Copy).
  void place_in(std::span<std::byte> memory, std::shared_ptr<void> owner);

  std::size_t count() const noexcept { return files_.size(); }
  const os::File& file(std::uint32_t shard) const noexcept { return files_[shard]; }

  // Whether the shard's bytes are decoded on their first use.
  bool is_decoded(std::uint32_t shard) const noexcept {
    return decoded_ != nullptr && shard + 1 == files_.size();
  }

  // Decodes these bytes, or all, unless they are there. Errors: those of DecodedMembers::ensure().
  Result<void> ensure_decoded(const format::Span& span) const {
    if (!is_decoded(span.shard)) return {};
    return decoded_->ensure(files_, span.offset_bytes, span.size_bytes);
  }
  Result<void> decode_all() const {
    return decoded_ == nullptr ? Result<void>() : decoded_->ensure_all(files_);
  }

  // Reads bytes of the shard, and decodes them before if necessary. Errors: Io; those of
  // DecodedMembers::ensure().
  Result<void> read_at(std::uint32_t shard, std::uint64_t offset_bytes,
                       std::span<std::byte> out) const;

  std::span<std::byte> memory(std::uint32_t shard) const noexcept { return bytes_[shard].bytes(); }

  // The first shard whose file system cannot map files. Its bytes are read into memory when they
  // are needed.
  std::optional<std::uint32_t> first_unmapped() const noexcept;

  // The bytes of a span in memory. If this is a mapping, only the caller may touch it: it faults if
  // the file was truncated or cannot be read.
  std::span<std::byte> in_memory(const format::Span& span) const noexcept {
    return bytes_[span.shard].bytes().subspan(span.offset_bytes, span.size_bytes);
  }

  // Makes these bytes available in memory: decodes them, or reads them if the shard cannot be
  // mapped.
  Result<void> fetch(const format::Span& span) const;

  // Copies bytes of a shard, and never faults.
  Result<void> copy_out(std::uint32_t shard, std::uint64_t offset_bytes,
                        std::span<std::byte> out) const;

  // Reads these bytes into the page cache, and maps them into this process.
  Result<void> populate(const format::Span& span) const;

  // How many of the mapped bytes of all shards are in the page cache.
  Result<std::uint64_t> resident_bytes() const;

  // Whether a SigbusGuard had to put zeros into a shard. From then on every use of that shard
  // fails.
  bool faulted() const noexcept;
  Result<void> ensure_not_faulted() const;  // any of them
  Result<void> ensure_not_faulted(std::uint32_t shard) const {
    if (!os::any_faulted()) [[likely]]
      return {};
    return check_fault(shard);
  }

 private:
  Result<void> check_fault(std::uint32_t shard) const;

  std::span<const os::File> files_;
  Access access_;
  std::vector<os::Mapping> bytes_;                 // parallel to files_, as far as they are placed
  std::vector<std::unique_ptr<Fetched>> fetched_;  // the same; nothing where a shard is mapped
  std::shared_ptr<DecodedMembers> decoded_;        // of the last one
};

}  // namespace cairn::internal
