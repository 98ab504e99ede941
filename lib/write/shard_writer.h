#pragma once

// The files of a checkpoint being written: the plan, the drafts of its shards, and the sums of what
// went into them.

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "format/digest.h"
#include "format/facts.h"
#include "lib/os/file.h"
#include "lib/write/layout.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {

struct LinkedShard;

inline constexpr std::uint32_t kChunkBytes = 1u << 20;

// What the index says of a tensor's bytes.
struct Sums {
  std::uint32_t crc32c = 0;
  std::vector<std::uint32_t> chunk_crc32cs;  // of each kChunkBytes; only with more than one chunk
  Digest128 content_hash;
};

// The sums of a tensor while its bytes come in.
class TensorSums {
 public:
  TensorSums() = default;
  // For so many bytes: no call needs memory any more.
  explicit TensorSums(std::uint64_t size_bytes) { chunks_.reserve(size_bytes / kChunkBytes + 1); }

  void update(std::span<const std::byte> bytes);
  std::uint64_t size_bytes() const noexcept { return size_bytes_; }
  Sums finish();  // after the last byte, once

 private:
  void end_chunk();

  std::uint64_t size_bytes_ = 0;
  std::uint32_t whole_ = 0;  // of the ended chunks
  std::uint32_t chunk_ = 0;  // of the current one
  std::uint64_t in_chunk_ = 0;
  std::vector<std::uint32_t> chunks_;
  format::Xxh3Stream hash_;
};

// The sums of bytes that are all there.
Sums sums_of(std::span<const std::byte> bytes);

class ShardWriter {
 public:
  // Creates and reserves the drafts; `names` are the shards' own, one for each of the layout.
  // `directory` must outlive it. Errors: Unsupported (the file system has no locks), NoSpace, Io.
  static Result<ShardWriter> create(const os::Directory& directory, std::vector<std::string> names,
                                    Layout layout);

  const Layout& layout() const noexcept { return layout_; }

  const os::File& file(std::uint32_t shard) const noexcept { return drafts_[shard].file(); }

  // Writes into a raw tensor's place. Threads: any, but one per tensor.
  Result<void> write(std::size_t tensor, std::uint64_t at_bytes,
                     std::span<const std::byte> bytes) const;

  // Gives an encoded tensor its place behind what is there.
  void place_encoded(std::size_t tensor, std::uint64_t size_bytes);

  // Adds shards of an older checkpoint, behind those of the layout. Nothing is written into them.
  void add_linked(std::vector<LinkedShard> shards);

  // Makes the bytes of every shard durable, for good: none can be written any more.
  Result<void> sync() const;

  // The names that the shards will have, one for each.
  void set_names(std::vector<std::string> names);

  // What is to be published, after sync().
  std::span<TempFile> temps() noexcept { return drafts_; }

  // What the index says of the shards. live_bytes counts shared ranges once.
  Result<std::vector<format::ShardFacts>> facts() const;

 private:
  explicit ShardWriter(Layout layout);  // throws std::bad_alloc

  Layout layout_;
  std::vector<TempFile> drafts_;            // those of the layout, then the linked ones
  std::vector<format::ShardFacts> linked_;  // what is said of the latter
  std::unique_ptr<std::mutex> append_;
};

}  // namespace cairn::internal
