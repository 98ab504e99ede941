#pragma once

// The shards of an open checkpoint in this process: where their bytes lie in memory, and what has
// come there.

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

// What is read, copied or summed at once: it stays in the second-level cache.
inline constexpr std::uint64_t kCachedBlockBytes = 256u << 10;

class Shards {
 public:
  // One file for each shard, of the size that the index records at least. They must outlive this.
  // `decoded`: what fills the last one, which is memory; nullptr: nothing has to be decoded.
  Shards(std::span<const os::File> files, Access access, std::shared_ptr<DecodedMembers> decoded)
      : files_(files), access_(access), decoded_(std::move(decoded)) {}

  // Gives a shard, the next one, its addresses: `size_bytes` of them.
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

  // Reads bytes of the shard, decoded first where that is needed. Errors: Io; of what is decoded
  // those of DecodedMembers::ensure().
  Result<void> read_at(std::uint32_t shard, std::uint64_t offset_bytes,
                       std::span<std::byte> out) const;

  std::span<std::byte> memory(std::uint32_t shard) const noexcept { return bytes_[shard].bytes(); }

  // The first shard that its file system cannot map, so that what is wanted of it is read into
  // memory.
  std::optional<std::uint32_t> first_unmapped() const noexcept;

  // The bytes of one stored piece in memory. Of a mapping: for the caller alone to touch, since it
  // faults where the file was truncated or cannot be read.
  std::span<std::byte> in_memory(const format::Span& span) const noexcept {
    return bytes_[span.shard].bytes().subspan(span.offset_bytes, span.size_bytes);
  }

  // Brings these bytes to their place, where they are not there yet: they are decoded, or read
  // where the shard cannot be mapped.
  Result<void> fetch(const format::Span& span) const;

  // Copies bytes of a shard, and never faults.
  Result<void> copy_out(std::uint32_t shard, std::uint64_t offset_bytes,
                        std::span<std::byte> out) const;

  // Brings them into the page cache and into this process.
  Result<void> populate(const format::Span& span) const;

  // How much of the first bytes of each shard, as many as it has addresses, is in the page cache.
  Result<std::uint64_t> resident_bytes() const;

  // Whether a SigbusGuard had to put zeros into a shard. From then on nothing of it is given out.
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
