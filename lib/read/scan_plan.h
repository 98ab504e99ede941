#pragma once

// One pass over stored bytes: each is read once, in the order of the files, on all cores, and is
// summed and copied while it is in the cache.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cairn/exec_options.h"
#include "lib/os/parallel.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/sums.h"

namespace cairn::internal {

// Where a pass gets its bytes.
enum class ByteSource : std::uint8_t {
  File,       // the descriptor, through the page cache
  Populated,  // the same, each range brought into the page cache and the mapping first
  PastCache,  // the descriptor, past the page cache: copy() must have been called for every byte
  Memory,     // the checkpoint's own memory
};

// What one thread reads at once: a multiple of a huge page.
inline constexpr std::uint64_t kWindowBytes = 4u << 20;

class ScanPlan {
 public:
  explicit ScanPlan(const OpenCheckpoint& checkpoint, std::uint64_t window_bytes = kWindowBytes);

  // Makes room for so many requests of each kind at once.
  void reserve(std::size_t count) {
    pieces_.reserve(count);
    copies_.reserve(count);
  }

  // Requests the sums of this piece, one for each chunk of this size. Returns the number of the
  // piece: 0, 1, … Pieces may overlap: the memory for them grows with their chunks, and no byte is
  // summed twice.
  std::size_t sum(const Piece& piece, std::uint64_t chunk_bytes);

  // The heads of string pieces that overlap, or are large, say where their strings lie, which are
  // then summed with all other bytes; the rest is read one by one by run(). After all of sum() and
  // copy(), before plan(). Errors: Io, Cancelled.
  Result<void> read_heads(ByteSource source, const ExecOptions& exec);

  // Requests a copy of these bytes of a shard in `to`.
  void copy(std::uint32_t shard, std::uint64_t offset_bytes, std::span<std::byte> to);

  // After the last request. Returns the number of bytes that run() will report as progress.
  std::uint64_t plan();

  // After plan(). Begins at the place that `partition` gives. Errors: Io, Cancelled.
  Result<void> run(ByteSource source, const ExecOptions& exec,
                   const ReaderPartition& partition = {});

  // Instead of run(): the steps 0 … step_count() − 1, each once, in any order, on any threads. The
  // first window_count() read one window each; they allocate nothing if `buffer` has
  // kCachedBlockBytes. The others read the encoded bytes of one piece. Returns how many bytes it
  // has read. Then finish_steps().
  std::size_t window_count() const noexcept { return tasks_.size(); }
  std::size_t step_count() const noexcept { return tasks_.size() + encoded_.size(); }
  Result<std::uint64_t> step(std::size_t number, ByteSource source, const ExecOptions& exec,
                             std::span<std::byte> buffer);
  void finish_steps() {
    if (overlap_ && running_.empty()) add_up();
  }

  // After run(): the sums of a piece, one for each chunk, and the sum of the whole. An encoded
  // piece (strings, variants) has only the latter. std::nullopt: its bytes break the rules of their
  // encoding.
  struct Sums {
    std::vector<std::uint32_t> chunks;
    std::uint32_t whole = 0;
  };
  std::optional<Sums> sums(std::size_t piece) const;

 private:
  // Bytes between two places where a piece, a chunk or a window begins or ends. Units do not
  // overlap.
  struct Unit {
    std::uint64_t offset_bytes;
    std::uint64_t size_bytes;
    std::uint32_t shard;
    std::uint32_t crc32c;  // after run()
    std::uint64_t end() const noexcept { return offset_bytes + size_bytes; }
  };
  // A place in a shard.
  struct Edge {
    std::uint32_t shard;
    std::uint64_t offset_bytes;
    auto operator<=>(const Edge&) const = default;
  };
  // A part of a requested copy, inside one window.
  struct Copy {
    std::uint64_t offset_bytes;
    std::uint64_t size_bytes;
    std::byte* to;
    std::uint32_t shard;
    std::uint64_t end() const noexcept { return offset_bytes + size_bytes; }
  };
  // What one thread takes at once: contiguous bytes inside one window.
  struct Task {
    std::uint32_t shard;
    std::uint64_t begin;
    std::uint64_t end;
    std::size_t units_begin;
    std::size_t copies_begin;
    std::uint64_t size_bytes() const noexcept { return end - begin; }
  };
  struct SumRequest {
    Piece piece;
    std::uint64_t chunk_bytes;
    std::size_t units_begin = 0;  // in units_, of a raw piece
    std::uint32_t crc32c = 0;     // after run(), of an encoded one; of the head, where that is read
    bool headed = false;          // the piece is what comes behind the head
    bool unreadable = false;      // encoded bytes that break their own rules
    bool has_units() const noexcept {
      return piece.encoding == format::Encoding::Raw && piece.size_bytes != 0;
    }
    Edge begin() const noexcept { return {piece.shard, piece.offset_bytes}; }
    Edge end() const noexcept { return {piece.shard, piece.offset_bytes + piece.size_bytes}; }
  };
  class Worker;

  std::uint64_t window_end(std::uint64_t offset_bytes) const noexcept {
    return (offset_bytes / window_bytes_ + 1) * window_bytes_;
  }
  std::vector<std::size_t> shared_strings() const;
  std::vector<Edge> edges() const;
  void cut_into_units();
  void find_units();
  std::size_t unit_at(const Edge& edge, std::size_t likely) const;
  void plan_tasks();
  void add_up();
  std::uint32_t sum_of_units(std::size_t begin, std::size_t end) const;
  Result<void> read_all(ByteSource source, const ExecOptions& exec,
                        const ReaderPartition& partition);
  Result<void> read_past_cache(const ExecOptions& exec);
  Result<void> sum_encoded(const ExecOptions& exec);
  Result<std::uint64_t> sum_encoded_piece(std::size_t number);

  const OpenCheckpoint& checkpoint_;
  std::vector<SumRequest> pieces_;
  std::vector<std::size_t> encoded_;
  std::vector<Unit> units_;  // by shard and place
  bool overlap_ = false;     // so much that adding up units for each piece would take long
  std::vector<std::uint32_t> running_;  // then: from the last gap before a unit to the unit's end
  std::uint64_t window_bytes_;
  std::vector<Copy> copies_;
  std::vector<Task> tasks_;
  std::uint64_t head_bytes_ = 0;  // that have been read before, and counted for done
  std::uint64_t raw_bytes_ = 0;
  std::uint64_t encoded_bytes_ = 0;
};

}  // namespace cairn::internal
