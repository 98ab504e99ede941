// The requested bytes are divided at the edges of windows of the file, and a window is the work of
// one thread: its bytes are contiguous, and its sums do not depend on other windows. Inside a
// window the bytes are read in blocks that stay in the processor's cache while they are summed and
// copied. A block that a request needs whole is read directly into its place.
//
// The bytes are also divided at every place where a piece begins or ends, so a byte is summed once,
// however many pieces share it: an index of 74 KB can name 2,000 tensors that each cover the same
// 16 GB. One sum is kept for each part. There are at most two parts for each piece, one for each
// chunk and one for each window, and at most kWindowsMax windows, however long a file claims to be.
//
// The sums of the parts are combined at the end (crc32c_combine): 1 µs for each part; summing a
// window takes 200. If pieces overlap so much that this would take long, running sums are kept from
// part to part, and the sum of any range is computed from the two at its ends.

#include "lib/read/scan_plan.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "format/digest.h"
#include "lib/os/direct.h"
#include "lib/os/machine.h"
#include "lib/os/mapping.h"
#include "lib/os/page_cache.h"
#include "lib/read/heads.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::uint64_t kWindowsMax = 1u << 16;      // larger windows where there were more
constexpr std::uint64_t kPlaceBytesMin = 16u << 10;  // less is read together with its neighbours
constexpr std::uint64_t kStringBytesMax = 1u << 20;  // of a string tensor that is read as a whole

// Whether reading so much would push the pages of other programs out of the page cache: the rule of
// IoMethod::Direct. To ask for the available memory takes longer than a small read.
bool is_too_much_for_cache(std::uint64_t size_bytes) {
  constexpr std::uint64_t kSmallBytes = std::uint64_t{256} << 20;
  if (size_bytes < kSmallBytes) return false;
  const auto available_bytes = os::available_memory_bytes();
  return available_bytes && size_bytes > *available_bytes / 2;
}

// The part of `block`, which starts at `begin` in the shard, that an item covers.
template <class Item>
std::span<std::byte> shared(std::span<std::byte> block, std::uint64_t begin, const Item& item) {
  const std::uint64_t from = std::max(begin, item.offset_bytes);
  const std::uint64_t to = std::min(begin + block.size(), item.end());
  return from < to ? block.subspan(from - begin, to - from) : std::span<std::byte>();
}

// Items of one list in the order of the file, of which a reader that moves forward sees those that
// touch its block. Foreign pieces may overlap, so an item that has ended may stand behind one that
// has not.
template <class Item>
class Cursor {
 public:
  Cursor(std::span<Item> items, std::size_t at) : items_(items), at_(at) {}

  template <class Visit>
  void touching(std::uint32_t shard, std::uint64_t begin, std::uint64_t end, Visit visit) {
    while (at_ < items_.size() && items_[at_].shard == shard && items_[at_].end() <= begin) ++at_;
    for (std::size_t i = at_; i < items_.size(); ++i) {
      if (items_[i].shard != shard || items_[i].offset_bytes >= end) break;
      if (items_[i].end() > begin) visit(items_[i]);
    }
  }

 private:
  std::span<Item> items_;
  std::size_t at_;
};

template <class Item>
void sort_by_place(std::vector<Item>& items) {
  const auto place = [](const Item& item) { return std::pair(item.shard, item.offset_bytes); };
  // Mostly they are: tensors are asked for in the order of the file.
  if (!std::ranges::is_sorted(items, {}, place)) std::ranges::sort(items, {}, place);
}

}  // namespace

// ---- What is wanted -----------------------------------------------------------------------------

ScanPlan::ScanPlan(const OpenCheckpoint& checkpoint, std::uint64_t window_bytes)
    : checkpoint_(checkpoint) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  std::uint64_t total_bytes = 0;
  for (std::uint32_t i = 0; i < checkpoint.index().shard_count(); ++i)
    total_bytes += std::min(checkpoint.index().shard(i).identity.size_bytes, kMost - total_bytes);
  window_bytes_ = (total_bytes / kWindowsMax / window_bytes + 1) * window_bytes;
}

std::size_t ScanPlan::sum(const Piece& piece, std::uint64_t chunk_bytes) {
  const std::size_t number = pieces_.size();
  pieces_.push_back({.piece = piece, .chunk_bytes = chunk_bytes});
  if (piece.encoding != format::Encoding::Raw) encoded_.push_back(number);
  return number;
}

void ScanPlan::copy(std::uint32_t shard, std::uint64_t offset_bytes, std::span<std::byte> to) {
  while (!to.empty()) {
    const std::uint64_t size_bytes =
        std::min<std::uint64_t>(to.size(), window_end(offset_bytes) - offset_bytes);
    copies_.push_back({offset_bytes, size_bytes, to.data(), shard});
    offset_bytes += size_bytes;
    to = to.subspan(size_bytes);
  }
}

// The string pieces that lie over one another, or are large, in the order of the files. The others
// cost less one by one: a head takes a read of its own, and its sum is put together.
std::vector<std::size_t> ScanPlan::shared_strings() const {
  std::vector<std::size_t> numbers;
  for (const std::size_t number : encoded_) {
    if (pieces_[number].piece.encoding == format::Encoding::TensorFlowString)
      numbers.push_back(number);
  }
  std::ranges::sort(numbers, {}, [&](std::size_t number) { return pieces_[number].begin(); });
  std::vector<std::size_t> shared;
  for (std::size_t i = 0; i < numbers.size();) {
    const std::size_t first = i;
    Edge end = pieces_[numbers[i]].end();
    while (++i < numbers.size() && pieces_[numbers[i]].begin() < end)
      end = std::max(end, pieces_[numbers[i]].end());
    if (i - first == 1 && pieces_[numbers[first]].piece.size_bytes <= kStringBytesMax) continue;
    const std::span group = std::span(numbers).subspan(first, i - first);
    shared.insert(shared.end(), group.begin(), group.end());
  }
  return shared;
}

Result<void> ScanPlan::read_heads(ByteSource source, const ExecOptions& exec) {
  // What is copied is to be the very bytes that were summed.
  if (source == ByteSource::PastCache || !copies_.empty()) return {};
  const std::vector<std::size_t> numbers = shared_strings();
  if (numbers.empty()) return {};
  std::vector<Piece> pieces;
  for (const std::size_t number : numbers) pieces.push_back(pieces_[number].piece);
  CAIRN_TRY(starts, read_string_heads(checkpoint_, pieces, source == ByteSource::Memory, exec));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    SumRequest& wanted = pieces_[numbers[i]];
    const std::uint64_t end = wanted.end().offset_bytes;
    wanted.unreadable = !starts[i].sound;
    wanted.headed = starts[i].sound;
    wanted.crc32c = starts[i].crc32c;
    head_bytes_ += (wanted.headed ? starts[i].payload_offset : end) - wanted.piece.offset_bytes;
    if (!wanted.headed) continue;
    wanted.piece.encoding = format::Encoding::Raw;
    wanted.piece.offset_bytes = starts[i].payload_offset;
    wanted.piece.size_bytes = wanted.chunk_bytes = end - starts[i].payload_offset;
  }
  std::erase_if(encoded_, [&](std::size_t number) {
    return pieces_[number].headed || pieces_[number].unreadable;
  });
  return {};
}

// ---- Planning -----------------------------------------------------------------------------------

// Where a raw piece, or a chunk of one, begins or ends; in order, each once.
std::vector<ScanPlan::Edge> ScanPlan::edges() const {
  std::vector<Edge> edges;
  edges.reserve(2 * pieces_.size());
  for (const SumRequest& wanted : pieces_) {
    if (!wanted.has_units()) continue;
    for (std::uint64_t done = 0; done < wanted.piece.size_bytes;) {
      edges.push_back({wanted.piece.shard, wanted.piece.offset_bytes + done});
      done += std::min(wanted.chunk_bytes, wanted.piece.size_bytes - done);
    }
    edges.push_back(wanted.end());
  }
  if (!std::ranges::is_sorted(edges)) std::ranges::sort(edges);
  edges.erase(std::ranges::unique(edges).begin(), edges.end());
  return edges;
}

void ScanPlan::cut_into_units() {
  std::vector<std::pair<Edge, Edge>> ranges;
  ranges.reserve(pieces_.size());
  for (const SumRequest& wanted : pieces_)
    if (wanted.has_units()) ranges.emplace_back(wanted.begin(), wanted.end());
  if (!std::ranges::is_sorted(ranges)) std::ranges::sort(ranges);
  const std::vector<Edge> edges = this->edges();
  units_.reserve(edges.size());
  auto edge = edges.begin();
  Edge at{};  // whatever is wanted before it is cut
  for (const auto& [begin, end] : ranges) {
    at = std::max(at, begin);
    while (at < end) {
      while (*edge <= at) ++edge;  // the end is one
      const std::uint64_t next = std::min(edge->offset_bytes, window_end(at.offset_bytes));
      units_.push_back({at.offset_bytes, next - at.offset_bytes, at.shard, 0});
      at.offset_bytes = next;
    }
  }
}

// The unit that begins there, or the first behind it; `likely` is looked at first.
std::size_t ScanPlan::unit_at(const Edge& edge, std::size_t likely) const {
  const auto place = [](const Unit& unit) { return Edge{unit.shard, unit.offset_bytes}; };
  if (likely == units_.size() ? place(units_.back()) < edge : place(units_[likely]) == edge)
    return likely;
  const auto found = std::ranges::lower_bound(units_, edge, {}, place);
  return static_cast<std::size_t>(found - units_.begin());
}

void ScanPlan::find_units() {
  std::size_t count = 0;
  std::size_t next = 0;
  for (SumRequest& wanted : pieces_) {
    if (!wanted.has_units()) continue;
    wanted.units_begin = unit_at(wanted.begin(), next);
    next = unit_at(wanted.end(), wanted.units_begin + 1);
    count += next - wanted.units_begin;
  }
  overlap_ = count > 2 * units_.size();
}

std::uint64_t ScanPlan::plan() {
  cut_into_units();
  find_units();
  sort_by_place(copies_);
  plan_tasks();
  for (const Task& task : tasks_) raw_bytes_ += task.size_bytes();
  for (const std::size_t number : encoded_) encoded_bytes_ += pieces_[number].piece.size_bytes;
  return head_bytes_ + raw_bytes_ + encoded_bytes_;
}

void ScanPlan::plan_tasks() {
  std::size_t unit = 0;
  std::size_t copy = 0;
  const auto key = [](const auto& item) { return std::pair(item.shard, item.offset_bytes); };
  while (unit < units_.size() || copy < copies_.size()) {
    const bool take_unit =
        copy == copies_.size() || (unit < units_.size() && key(units_[unit]) <= key(copies_[copy]));
    const auto [shard, begin] = take_unit ? key(units_[unit]) : key(copies_[copy]);
    const std::uint64_t end = take_unit ? units_[unit].end() : copies_[copy].end();
    Task* const last = tasks_.empty() ? nullptr : &tasks_.back();
    if (last != nullptr && last->shard == shard && begin < window_end(last->begin) &&
        begin <= last->end + kReadGapBytesMax) {
      last->end = std::max(last->end, end);
    } else {
      tasks_.push_back({shard, begin, end, unit, copy});
    }
    ++(take_unit ? unit : copy);
  }
}

// ---- Reading ------------------------------------------------------------------------------------

// One thread that works through a task.
class ScanPlan::Worker {
 public:
  Worker(ScanPlan& plan, ByteSource source, const ExecOptions& exec,
         std::span<std::byte> buffer = {})
      : plan_(plan), source_(source), stop_(exec.stop), buffer_(buffer) {}

  Result<void> go(const Task& task) {
    if (source_ == ByteSource::Populated) CAIRN_CHECK(populate(task));
    Cursor<Unit> units(plan_.units_, task.units_begin);
    Cursor<Copy> copies(plan_.copies_, task.copies_begin);
    for (std::uint64_t at = task.begin; at < task.end;) {
      CAIRN_CHECK(os::unless_stopped(stop_));
      const Block block = next_block(task, at, copies);
      CAIRN_CHECK(fill(task.shard, at, block));
      const std::uint64_t end = at + block.bytes.size();
      units.touching(task.shard, at, end, [&](Unit& unit) {
        unit.crc32c = format::crc32c(shared(block.bytes, at, unit), unit.crc32c);
      });
      copies.touching(task.shard, at, end, [&](const Copy& copy) {
        const auto part = shared(block.bytes, at, copy);
        std::byte* const to = copy.to + (std::max(at, copy.offset_bytes) - copy.offset_bytes);
        if (to != part.data()) std::memcpy(to, part.data(), part.size());
      });
      at = end;
    }
    return {};
  }

 private:
  struct Block {
    std::span<std::byte> bytes;
    bool filled = false;
  };

  // Up to kCachedBlockBytes from `at` on: where they lie, where somebody wants them, or in the
  // buffer.
  Block next_block(const Task& task, std::uint64_t at, Cursor<Copy>& copies) {
    std::uint64_t size_bytes = std::min(kCachedBlockBytes, task.end - at);
    if (source_ == ByteSource::Memory) {
      return {plan_.checkpoint_.shards().in_memory({task.shard, at, size_bytes, {}}), true};
    }
    std::byte* place = nullptr;
    copies.touching(task.shard, at, at + size_bytes, [&](const Copy& copy) {
      const std::uint64_t from = std::max(at, copy.offset_bytes);
      if (place != nullptr || copy.end() - from < kPlaceBytesMin) return;
      if (from > at) {
        size_bytes = std::min(size_bytes, from - at);
      } else {
        place = copy.to + (at - copy.offset_bytes);
        size_bytes = std::min(size_bytes, copy.end() - at);
      }
    });
    if (place != nullptr) return {{place, size_bytes}, false};
    if (buffer_.size() < kCachedBlockBytes) {
      own_buffer_ = std::make_unique_for_overwrite<std::byte[]>(kCachedBlockBytes);
      buffer_ = {own_buffer_.get(), kCachedBlockBytes};
    }
    return {buffer_.first(size_bytes), false};
  }

  Result<void> fill(std::uint32_t shard, std::uint64_t at, const Block& block) const {
    if (block.filled) return {};
    return plan_.checkpoint_.shards().read_at(shard, at, block.bytes);
  }

  Result<void> populate(const Task& task) const {
    auto done = os::populate(
        plan_.checkpoint_.shards().in_memory({task.shard, task.begin, task.size_bytes(), {}}));
    if (done || done.error().code == Code::Unsupported) return {};  // reading brings them as well
    return Error{done.error().code, done.error().os_errno,
                 plan_.checkpoint_.shard_path(task.shard) + ": " + done.error().what};
  }

  ScanPlan& plan_;
  const ByteSource source_;
  const std::stop_token stop_;  // asked at each block: windows of a huge sparse file are huge
  std::span<std::byte> buffer_;
  std::unique_ptr<std::byte[]> own_buffer_;
};

Result<void> ScanPlan::run(ByteSource source, const ExecOptions& exec,
                           const ReaderPartition& partition) {
  const std::uint64_t total_bytes = head_bytes_ + raw_bytes_ + encoded_bytes_;
  if (!tasks_.empty() || encoded_.empty())
    CAIRN_CHECK(read_all(source, os::part_of(exec, {head_bytes_, total_bytes}), partition));
  if (overlap_) add_up();
  if (encoded_.empty()) return {};
  return sum_encoded(os::part_of(exec, {head_bytes_ + raw_bytes_, total_bytes}));
}

Result<void> ScanPlan::read_all(ByteSource source, const ExecOptions& exec,
                                const ReaderPartition& partition) {
  if (source == ByteSource::PastCache) return read_past_cache(exec);
  // Of a window that was not in the page cache before, nothing stays there. Before all of them are
  // read: reading one brings the next ones too.
  std::vector<bool> was_cold;
  if (source == ByteSource::File && is_too_much_for_cache(raw_bytes_)) {
    for (const Task& task : tasks_) {
      const auto cached_bytes =
          os::cached_bytes(checkpoint_.shards().file(task.shard), task.begin, task.size_bytes());
      was_cold.push_back(cached_bytes && *cached_bytes < task.size_bytes() / 2);
    }
  }
  const std::size_t first = tasks_.size() * partition.index / partition.count;
  const std::size_t threads =
      tasks_.size() < 2 ? 1 : std::min<std::size_t>(os::thread_count(exec), tasks_.size());
  return os::run_threads(exec, {tasks_.size(), raw_bytes_, static_cast<unsigned>(threads)},
                         [&](os::WorkQueue& queue) -> Result<void> {
                           Worker walk(*this, source, exec);
                           while (const auto number = queue.next()) {
                             const std::size_t at = (*number + first) % tasks_.size();
                             const Task& task = tasks_[at];
                             CAIRN_CHECK(walk.go(task));
                             if (!was_cold.empty() && was_cold[at])
                               os::drop_from_cache(checkpoint_.shards().file(task.shard),
                                                   task.begin, task.size_bytes());
                             queue.did(task.size_bytes());
                           }
                           return {};
                         });
}

// Whole windows come past the cache; what a file has behind its last whole page does not.
Result<void> ScanPlan::read_past_cache(const ExecOptions& exec) {
  CAIRN_CHECK(checkpoint_.shards().decode_all());
  std::vector<os::File> files;
  for (const os::File& shard : checkpoint_.parts().shards) {
    CAIRN_TRY(file, os::reopen_direct(shard));
    files.push_back(std::move(file));
  }
  const auto whole_bytes = [](const Task& task) {
    return task.size_bytes() / os::kDirectAlignmentBytes * os::kDirectAlignmentBytes;
  };
  std::vector<os::DirectRead> reads;
  for (const Task& task : tasks_) {
    reads.push_back(
        {&files[task.shard], task.begin,
         checkpoint_.shards().in_memory({task.shard, task.begin, whole_bytes(task), {}})});
  }
  Worker walk(*this, ByteSource::Memory, exec);  // its buffer, which would be shared, stays unused
  return os::read_direct(exec, reads, [&](std::size_t number) -> Result<void> {
    const Task& task = tasks_[number];
    const std::uint64_t rest = task.begin + whole_bytes(task);
    CAIRN_CHECK(checkpoint_.shards().read_at(
        task.shard, rest, checkpoint_.shards().in_memory({task.shard, rest, task.end - rest, {}})));
    return walk.go(task);
  });
}

Result<void> ScanPlan::sum_encoded(const ExecOptions& exec) {
  return os::run_parallel(exec, encoded_.size(), encoded_bytes_,
                          [&](std::size_t i) { return sum_encoded_piece(encoded_[i]); });
}

Result<std::uint64_t> ScanPlan::sum_encoded_piece(std::size_t number) {
  SumRequest& wanted = pieces_[number];
  auto sum = Checksummer(checkpoint_)
                 .sum(wanted.piece, wanted.piece.offset_bytes, wanted.piece.size_bytes);
  if (!sum && sum.error().code != Code::Corrupt) return std::move(sum).error();
  wanted.unreadable = !sum;
  wanted.crc32c = sum.value_or(0u);
  return wanted.piece.size_bytes;
}

Result<std::uint64_t> ScanPlan::step(std::size_t number, ByteSource source, const ExecOptions& exec,
                                     std::span<std::byte> buffer) {
  if (number >= tasks_.size()) return sum_encoded_piece(encoded_[number - tasks_.size()]);
  const Task& task = tasks_[number];
  CAIRN_CHECK(Worker(*this, source, exec, buffer).go(task));
  return task.size_bytes();
}

// ---- Afterwards ---------------------------------------------------------------------------------

// For each unit, so that any range can be had: as many sums as there are units.
void ScanPlan::add_up() {
  running_.reserve(units_.size());
  for (std::size_t i = 0; i < units_.size(); ++i) {
    const Unit& unit = units_[i];
    const bool goes_on =
        i > 0 && units_[i - 1].shard == unit.shard && units_[i - 1].end() == unit.offset_bytes;
    running_.push_back(goes_on
                           ? format::crc32c_combine(running_.back(), unit.crc32c, unit.size_bytes)
                           : unit.crc32c);
  }
}

// The sum of A and then B is that of A, moved on by the length of B, and that of B, put together by
// an exclusive or. So the same call makes the sum of B of the other two.
std::uint32_t ScanPlan::sum_of_units(std::size_t begin, std::size_t end) const {
  std::uint32_t crc = units_[begin].crc32c;
  if (!running_.empty() && end - begin > 1) {
    const std::uint64_t rest_bytes = units_[end - 1].end() - units_[begin].end();
    const std::uint32_t rest =
        format::crc32c_combine(running_[begin], running_[end - 1], rest_bytes);
    return format::crc32c_combine(crc, rest, rest_bytes);
  }
  for (std::size_t i = begin + 1; i < end; ++i)
    crc = format::crc32c_combine(crc, units_[i].crc32c, units_[i].size_bytes);
  return crc;
}

std::optional<ScanPlan::Sums> ScanPlan::sums(std::size_t piece) const {
  const SumRequest& wanted = pieces_[piece];
  if (wanted.unreadable) return std::nullopt;
  Sums sums;
  sums.whole = wanted.crc32c;
  if (!wanted.has_units()) return sums;
  std::size_t unit = wanted.units_begin;
  for (std::uint64_t done = 0; done < wanted.piece.size_bytes;) {
    const std::uint64_t chunk = std::min(wanted.chunk_bytes, wanted.piece.size_bytes - done);
    const Edge end{wanted.piece.shard, wanted.piece.offset_bytes + done + chunk};
    const std::size_t next = unit_at(end, unit + 1);
    const std::uint32_t crc = sum_of_units(unit, next);
    const bool first = done == 0 && !wanted.headed;
    sums.whole = first ? crc : format::crc32c_combine(sums.whole, crc, chunk);
    if (!wanted.headed) sums.chunks.push_back(crc);
    unit = next;
    done += chunk;
  }
  return sums;
}

}  // namespace cairn::internal
