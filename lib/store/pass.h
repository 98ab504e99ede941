#pragma once

// One pass over stored bytes: each is read once, in the order of the files, on all cores, and
// summed and handed on while it is in the cache.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cairn/work.h"
#include "lib/os/parallel.h"
#include "lib/store/open_checkpoint.h"
#include "lib/store/sums.h"

namespace cairn::store {

// Where a pass gets its bytes.
enum class Source : std::uint8_t {
  File,       // the descriptor, through the page cache
  Populated,  // the same, each range brought into the page cache and the mapping first
  PastCache,  // the descriptor, past the page cache: every byte must be wanted in its place in
              // memory
  Memory,     // they lie in the checkpoint's memory
};

class Pass {
 public:
  explicit Pass(const OpenCheckpoint& checkpoint) : checkpoint_(checkpoint) {}

  // Sums of this piece are wanted, by chunks of this size. Returns its number: 0, 1, …
  std::size_t sum(const Piece& piece, std::uint64_t chunk_bytes);

  // These bytes of a shard are wanted there.
  void copy(std::uint32_t shard, std::uint64_t offset_bytes, std::span<std::byte> to);

  // The bytes that run() will go over, once no more is wanted.
  std::uint64_t plan();

  // After plan(). Begins where `share` says. Errors: Io, Cancelled.
  Result<void> run(Source source, const Work& work, const Share& share = {});

  // After run(): a piece's sums, chunk after chunk, and the sum of it all. Of an encoded piece one;
  // none where its bytes break the rules of their encoding.
  struct Sums {
    std::vector<std::uint32_t> chunks;
    std::uint32_t whole = 0;
  };
  std::optional<Sums> sums(std::size_t piece) const;

 private:
  // A part of a piece, inside one window.
  struct Unit {
    std::uint64_t offset_bytes;
    std::uint32_t shard;
    std::uint32_t size_bytes;
    std::size_t slot;  // in slots_
    std::uint64_t end() const noexcept { return offset_bytes + size_bytes; }
  };
  // A part of what is wanted somewhere, inside one window.
  struct Copy {
    std::uint64_t offset_bytes;
    std::uint32_t shard;
    std::uint32_t size_bytes;
    std::byte* to;
    std::uint64_t end() const noexcept { return offset_bytes + size_bytes; }
  };
  // What one thread takes at once: bytes that lie together, inside one window.
  struct Task {
    std::uint32_t shard;
    std::uint64_t begin;
    std::uint64_t end;
    std::size_t units_begin;
    std::size_t copies_begin;
  };
  // The sum of a unit, in the order of the pieces and of their bytes.
  struct Slot {
    std::uint32_t size_bytes;
    std::uint32_t crc32c;
  };
  struct Wanted {
    Piece piece;
    std::uint64_t chunk_bytes;
    std::size_t slots_begin;
    bool unreadable;  // encoded bytes that break their own rules
  };
  class Walk;

  Result<void> read_all(Source source, const Work& work, const Share& share);
  Result<void> read_past_cache(const Work& work);
  Result<void> sum_encoded(const Work& work);

  const OpenCheckpoint& checkpoint_;
  std::vector<Wanted> pieces_;
  std::vector<std::size_t> encoded_;
  std::vector<Slot> slots_;
  std::vector<Unit> units_;
  std::vector<Copy> copies_;
  std::vector<Task> tasks_;
  std::uint64_t raw_bytes_ = 0;
  std::uint64_t encoded_bytes_ = 0;
};

}  // namespace cairn::store
