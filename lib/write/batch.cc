// Saving what is in memory: copied, summed and brought to the disk at the same time.
//
// A byte is copied into the page cache, summed and hashed. Copying takes longest, about 2.5 times
// as long as both sums, and cannot be shared out: a file system lets one thread at a time write to
// a file. So one thread copies without pause, and the others sum; the disk begins meanwhile.
//
//   - Blocks end at multiples of 4 MiB in the file, whatever tensors lie there, since aligned
//     stretches get page-cache folios of 2 MiB: 2.5 times as fast to write as 256 KiB at a time,
//     and as much faster to touch for whoever maps the file. Neighbours go into one call.
//   - Writeback is started behind the writer, 8 MiB at a time, by a thread that does not write:
//     handing pages to the disk costs a third of copying them. The sync at the end then waits for
//     little. docs/decisions/0006 has the numbers, and what O_DIRECT would give.
//   - A tensor is summed by one thread, since its hash is one stream. The sums run a little ahead
//     of the writer and no further: what they have read is in the processors' cache when it is
//     copied, and memory is read once instead of twice.
//
// Whoever is free takes what is most urgent: the pen, if nobody holds it; then the writeback; then
// the sums of the next tensors; and then it waits until a block has been written, which is when the
// pen is free and the writeback may be due. Who sums and is too far ahead does the same.

#include "lib/write/batch.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <stop_token>
#include <tuple>
#include <utility>

#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::uint64_t kWritebackBytes = 8u << 20;
constexpr std::uint64_t kSummedAtOnceBytes = 4u << 20;
constexpr std::uint64_t kSummedAheadBytes = 8u << 20;
// Of one call that writes. What has more parts has small ones.
constexpr std::size_t kPartsMax = 256;
static_assert(kPartsMax <= os::kPartsMax);
// One writes, one feeds the disk, and two sum faster than one writes.
constexpr unsigned kThreadsMax = 4;

std::uint64_t end_of(const Block& block) noexcept { return block.offset_bytes + block.size_bytes; }

class Batch {
 public:
  Batch(const ShardWriter& shards, std::span<TensorWrite> writes)
      : shards_(shards), loads_(writes), blocks_(cut_into_blocks(shards.layout(), writes)) {}

  Result<void> run(const ExecOptions& exec, std::chrono::milliseconds idle_max);

 private:
  Result<std::uint64_t> do_next();
  Result<std::uint64_t> try_write();
  Result<std::uint64_t> write(const Block& block);  // by who holds the pen, or is alone
  std::span<const std::span<const std::byte>> parts_of(const Block& block);
  Result<std::uint64_t> sum(const Block& block);
  Result<std::uint64_t> keep_pace();
  Result<void> feed_disk();
  std::uint64_t total_bytes() const;

  const ShardWriter& shards_;
  const std::span<TensorWrite> loads_;
  const std::vector<Block> blocks_;
  std::stop_token stop_;
  bool alone_ = false;  // one thread, which sums first and then writes what it has in its cache

  std::mutex pen_;  // whoever holds it writes
  std::size_t next_write_ = 0;
  std::vector<std::span<const std::byte>> parts_;  // of the block that is written
  std::vector<std::byte> gathered_;                // the same where they are small
  std::atomic<std::size_t> written_ = 0;           // blocks, also those that could not be written
  std::atomic<std::uint64_t> written_bytes_ = 0;
  std::atomic<std::size_t> next_sum_ = 0;
  std::atomic<std::uint64_t> summed_bytes_ = 0;
  std::atomic<unsigned> unended_calls_ = 0;  // of the system: under way, or failed
  std::mutex disk_;
  std::size_t fed_ = 0;  // blocks whose writeback was started
};

std::uint64_t Batch::total_bytes() const {
  std::uint64_t total_bytes = 0;
  for (const TensorWrite& load : loads_) total_bytes += load.bytes.size();
  return total_bytes;
}

Result<void> Batch::run(const ExecOptions& exec, std::chrono::milliseconds idle_max) {
  stop_ = exec.stop;
  const std::size_t steps = 2 * blocks_.size();
  os::ThreadGroupOptions group{steps, total_bytes(), 1, {}};
  if (group.total_bytes >= kWriteBlockBytes) {
    group.threads = std::min(kThreadsMax, os::thread_count(exec));
    group.idle_max = idle_max;
  }
  alone_ = group.threads == 1 && group.idle_max == std::chrono::milliseconds(0);
  auto done = os::run_threads(exec, group, [&](os::WorkQueue& queue) -> Result<void> {
    while (queue.next()) {
      CAIRN_TRY(done_bytes, do_next());
      queue.did(done_bytes);
    }
    return {};
  });
  if (done || done.error().code != Code::OutOfMemory || unended_calls_ == 0) return done;
  // A write that has failed is final, also where the kernel's own memory was short.
  const bool told = done.error().os_errno != 0;
  return Error{Code::Io, done.error().os_errno,
               told ? done.error().what : "a write failed, and there was no memory to say why"};
}

// Each call takes one of the steps that are left: a block to be written, or one to be summed. Like
// all that follows, it gives the bytes that it has written.
Result<std::uint64_t> Batch::do_next() {
  while (true) {
    const std::size_t written = written_;
    CAIRN_TRY(done_bytes, alone_ ? std::uint64_t{0} : try_write());
    if (done_bytes != 0) return done_bytes;
    CAIRN_CHECK(feed_disk());
    if (const std::size_t next = next_sum_++; next < blocks_.size()) return sum(blocks_[next]);
    CAIRN_TRY(last_bytes, try_write());
    if (last_bytes != 0) return last_bytes;
    if (written == blocks_.size()) return std::uint64_t{0};
    written_.wait(written);
  }
}

// The next block, if there is one and nobody holds the pen.
Result<std::uint64_t> Batch::try_write() {
  std::unique_lock pen(pen_, std::try_to_lock);
  if (!pen || next_write_ == blocks_.size()) return std::uint64_t{0};
  const Block& block = blocks_[next_write_++];
  auto done = at_boundary([&] { return write(block); });
  // In this order, and after a failure too: who waits for the pen is to find it.
  pen.unlock();
  ++written_;
  written_.notify_all();
  return done;
}

// Returns when the sums are not far ahead of the writer, or all blocks have had their turn.
Result<std::uint64_t> Batch::keep_pace() {
  std::uint64_t done_bytes = 0;
  while (true) {
    const std::size_t written = written_;
    if (written == blocks_.size() || summed_bytes_ <= written_bytes_ + kSummedAheadBytes)
      return done_bytes;
    CAIRN_CHECK(os::unless_stopped(stop_));
    CAIRN_TRY(more_bytes, try_write());
    done_bytes += more_bytes;
    if (more_bytes != 0) continue;
    CAIRN_CHECK(feed_disk());
    written_.wait(written);
  }
}

// Small ones are put together first: the kernel takes longer over a part than over its bytes.
std::span<const std::span<const std::byte>> Batch::parts_of(const Block& block) {
  parts_.clear();
  std::uint64_t skip_bytes = block.skip_bytes;
  std::uint64_t left_bytes = block.size_bytes;
  for (std::size_t i = block.first; left_bytes > 0; ++i) {
    const auto rest = loads_[i].bytes.subspan(std::exchange(skip_bytes, 0));
    parts_.push_back(rest.first(std::min<std::uint64_t>(rest.size(), left_bytes)));
    left_bytes -= parts_.back().size();
  }
  if (parts_.size() <= kPartsMax) return parts_;
  gathered_.clear();
  gathered_.reserve(kWriteBlockBytes);
  for (const auto part : parts_) gathered_.insert(gathered_.end(), part.begin(), part.end());
  parts_.assign(1, gathered_);
  return parts_;
}

Result<std::uint64_t> Batch::write(const Block& block) {
  const auto parts = parts_of(block);
  ++unended_calls_;
  CAIRN_CHECK(shards_.file(block.shard).write_parts_at(block.offset_bytes, parts));
  --unended_calls_;
  written_bytes_ += block.size_bytes;
  return block.size_bytes;
}

Result<std::uint64_t> Batch::sum(const Block& block) {
  CAIRN_TRY(done_bytes, keep_pace());
  for (TensorWrite& load : loads_.subspan(block.begins, block.ends - block.begins)) {
    if (load.bytes.size() <= kSummedAtOnceBytes) {
      load.sums = sums_of(load.bytes);
      summed_bytes_ += load.bytes.size();
      continue;
    }
    TensorSums sums;
    for (auto rest = load.bytes; !rest.empty();) {
      CAIRN_TRY(more_bytes, keep_pace());
      done_bytes += more_bytes;
      const auto part = rest.first(std::min<std::uint64_t>(rest.size(), kSummedAtOnceBytes));
      sums.update(part);
      summed_bytes_ += part.size();
      rest = rest.subspan(part.size());
      CAIRN_CHECK(feed_disk());
      CAIRN_CHECK(os::unless_stopped(stop_));
    }
    load.sums = sums.finish();
  }
  return done_bytes;
}

// Starts the writeback of the next stretch that was written, if one is due. The call may wait for
// the disk, so it comes after sums that are behind the writer, and not when all is written: then
// the sync is next.
Result<void> Batch::feed_disk() {
  const std::unique_lock disk(disk_, std::try_to_lock);
  const std::size_t written = written_;
  if (!disk || written == blocks_.size() || summed_bytes_ < written_bytes_) return {};
  const Block& begin = blocks_[fed_];
  os::ByteRange stretch{begin.offset_bytes, 0};
  std::size_t end = fed_;
  for (; end < written && blocks_[end].shard == begin.shard; ++end) {
    if (stretch.size_bytes >= kWritebackBytes) break;
    stretch.size_bytes = end_of(blocks_[end]) - begin.offset_bytes;
  }
  if (end == written && stretch.size_bytes < kWritebackBytes) return {};
  fed_ = end;
  ++unended_calls_;
  CAIRN_CHECK(shards_.file(begin.shard).start_writeback(stretch));
  --unended_calls_;
  return {};
}

}  // namespace

std::vector<Block> cut_into_blocks(const Layout& layout, std::span<const TensorWrite> writes) {
  std::vector<Block> blocks;
  const auto goes_on = [&](std::uint32_t shard, std::uint64_t offset_bytes) {
    if (blocks.empty()) return false;
    const Block& last = blocks.back();
    const bool at_end = last.shard == shard && end_of(last) == offset_bytes;
    return at_end && (offset_bytes % kWriteBlockBytes != 0 || last.size_bytes == 0);
  };
  for (std::size_t i = 0; i < writes.size(); ++i) {
    const PlannedTensor& plan = layout.tensors[writes[i].tensor];
    std::uint64_t done_bytes = 0;
    do {
      const std::uint64_t offset_bytes = plan.offset_bytes + done_bytes;
      const std::size_t begins = done_bytes == 0 ? i : i + 1;
      if (!goes_on(plan.shard, offset_bytes)) {
        blocks.push_back({plan.shard, offset_bytes, 0, i, done_bytes, begins, begins});
      }
      const std::uint64_t take_bytes = std::min(writes[i].bytes.size() - done_bytes,
                                                kWriteBlockBytes - offset_bytes % kWriteBlockBytes);
      blocks.back().size_bytes += take_bytes;
      blocks.back().ends = i + 1;
      done_bytes += take_bytes;
    } while (done_bytes < writes[i].bytes.size());
  }
  return blocks;
}

Result<void> write_batch(const ShardWriter& shards, std::span<TensorWrite> writes,
                         const ExecOptions& exec, std::chrono::milliseconds idle_max) {
  const auto place = [&](const TensorWrite& load) {
    const PlannedTensor& plan = shards.layout().tensors[load.tensor];
    return std::tuple(plan.shard, plan.offset_bytes, load.bytes.size(), load.tensor);
  };
  if (!std::ranges::is_sorted(writes, {}, place)) std::ranges::sort(writes, {}, place);
  return Batch(shards, writes).run(exec, idle_max);
}

}  // namespace cairn::internal
