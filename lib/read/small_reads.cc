// A block is what one pread brings: tensors that are neighbours in the file, 256 KiB at most. Each
// tensor of it is summed and copied to its place while the block is in the cache. A plan of the
// general kind (scan_plan.cc) keeps 200 bytes for each sum; this one keeps the position of the
// tensor.

#include "lib/read/small_reads.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "format/digest.h"
#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::uint64_t kSmallBytesMax = 64u << 10;  // larger ones are divided among the cores

class SmallReads {
 public:
  SmallReads(const OpenCheckpoint& checkpoint, std::span<const Read> reads)
      : checkpoint_(checkpoint), reads_(reads) {}

  // false: another kind of request is among them.
  bool plan() {
    positions_.reserve(reads_.size());
    std::size_t next = 0;
    for (const Read& read : reads_) {
      const auto position = checkpoint_.position_of(read.name, next);
      if (!position || !add(*position, read)) return false;
      next = *position + 1;
    }
    return true;
  }

  Result<void> run(const ExecOptions& exec, const ReaderPartition& partition) {
    const std::size_t threads =
        blocks_.size() < 2 ? 1 : std::min<std::size_t>(os::thread_count(exec), blocks_.size());
    const std::size_t first = blocks_.size() * partition.index / partition.count;
    std::uint64_t total_bytes = 0;  // with the gaps
    for (const Block& block : blocks_) total_bytes += block.end - block.begin;
    const auto work = [&](os::WorkQueue& queue) -> Result<void> {
      std::unique_ptr<std::byte[]> buffer;
      while (const auto number = queue.next()) {
        const Block& block = blocks_[(*number + first) % blocks_.size()];
        CAIRN_CHECK(read(block, buffer));
        queue.did(block.end - block.begin);
      }
      return {};
    };
    CAIRN_CHECK(
        os::run_threads(exec, {blocks_.size(), total_bytes, static_cast<unsigned>(threads)}, work));
    return outcome();
  }

 private:
  // Neighbours in a shard; those that are empty belong to the block before them.
  struct Block {
    std::uint32_t shard;
    std::uint64_t begin;
    std::uint64_t end;
    std::size_t reads_begin;
    std::size_t reads_end;
  };

  bool add(std::size_t position, const Read& read) {
    const auto span = checkpoint_.index().plain_span(position);
    if (!span || span->size_bytes > kSmallBytesMax || read.out.size() != span->size_bytes ||
        !read.slice.empty() || !checkpoint_.shards().ensure_not_faulted(span->shard)) {
      return false;
    }
    positions_.push_back(static_cast<std::uint32_t>(position));
    if (span->size_bytes != 0 && !place(*span)) return false;
    if (!blocks_.empty()) blocks_.back().reads_end = positions_.size();
    return true;
  }

  // false: the span lies before or over one that came before it.
  bool place(const format::Span& span) {
    const std::uint64_t end = span.offset_bytes + span.size_bytes;
    if (!blocks_.empty()) {
      Block& last = blocks_.back();
      const bool behind =
          span.shard == last.shard ? span.offset_bytes >= last.end : span.shard > last.shard;
      if (!behind) return false;
      if (span.shard == last.shard && span.offset_bytes - last.end <= kReadGapBytesMax &&
          end - last.begin <= kCachedBlockBytes) {
        last.end = end;
        return true;
      }
    }
    blocks_.push_back({span.shard, span.offset_bytes, end, positions_.size() - 1, 0});
    return true;
  }

  Result<void> read(const Block& block, std::unique_ptr<std::byte[]>& buffer) {
    const bool one = block.reads_end - block.reads_begin == 1;  // into its place at once
    if (!one && !buffer) buffer = std::make_unique_for_overwrite<std::byte[]>(kCachedBlockBytes);
    const std::span<std::byte> bytes =
        one ? reads_[block.reads_begin].out
            : std::span(buffer.get(), static_cast<std::size_t>(block.end - block.begin));
    CAIRN_CHECK(checkpoint_.shards().read_at(block.shard, block.begin, bytes));
    for (std::size_t i = block.reads_begin; i < block.reads_end; ++i) {
      if (reads_[i].out.empty()) continue;
      const format::Span span = *checkpoint_.index().plain_span(positions_[i]);
      const auto own = bytes.subspan(span.offset_bytes - block.begin, span.size_bytes);
      check(i, span, own);
      if (!one) std::memcpy(reads_[i].out.data(), own.data(), own.size());
    }
    return {};
  }

  void check(std::size_t number, const format::Span& span, std::span<const std::byte> bytes) {
    const std::size_t position = positions_[number];
    if (!span.crc32c || checkpoint_.checks().is_checked(position)) return;
    if (format::crc32c(bytes) == span.crc32c) return checkpoint_.checks().mark_checked(position);
    std::size_t first = first_damaged_.load(std::memory_order_relaxed);
    while (number < first && !first_damaged_.compare_exchange_weak(first, number)) {
    }
  }

  Result<void> outcome() const {
    const std::size_t number = first_damaged_.load(std::memory_order_relaxed);
    if (number == kNone) return {};
    const format::Span span = *checkpoint_.index().plain_span(positions_[number]);
    return checkpoint_.damaged(positions_[number], span, format::crc32c(reads_[number].out));
  }

  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  const OpenCheckpoint& checkpoint_;
  const std::span<const Read> reads_;
  std::vector<std::uint32_t> positions_;  // parallel to reads_
  std::vector<Block> blocks_;
  std::atomic<std::size_t> first_damaged_ = kNone;
};

}  // namespace

Result<bool> read_small(const OpenCheckpoint& checkpoint, std::span<const Read> reads,
                        const ExecOptions& exec, const ReaderPartition& partition) {
  // Pages that the caller may have changed, or memory of our own, are not in the file.
  if (checkpoint.access() != Access::Shared) return false;
  SmallReads small(checkpoint, reads);
  if (!small.plan()) return false;
  CAIRN_CHECK(small.run(exec, partition));
  return true;
}

}  // namespace cairn::internal
