#include "lib/edit/stream.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "format/digest.h"
#include "lib/edit/cast.h"
#include "lib/edit/cut.h"
#include "lib/os/parallel.h"
#include "lib/try.h"
#include "lib/write/batch.h"
#include "lib/write/layout.h"

namespace cairn::internal {
namespace {

// A file system lets one thread at a time write to a file, and so much reading and summing keeps
// that one busy.
constexpr unsigned kThreadsMax = 6;

// Not zeroed, and kept: a new block for each tensor costs page faults each time.
class Buffer {
 public:
  std::span<std::byte> first(std::uint64_t size_bytes) {
    if (size_bytes > size_bytes_) {
      bytes_ = std::make_unique_for_overwrite<std::byte[]>(size_bytes);
      size_bytes_ = size_bytes;
    }
    return {bytes_.get(), size_bytes};
  }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::uint64_t size_bytes_ = 0;
};

// One thread of it.
class Reader {
 public:
  Reader(const StreamRequest& request, const BlockSink& sink, os::WorkQueue& queue)
      : request_(request), sink_(sink), queue_(queue), tallies_(request.casts.size()) {}

  Result<void> read(std::size_t i);

  // Adds what this thread has counted.
  void add_counts() const;

 private:
  Result<void> read_blocks(const format::IndexView::Tensor& tensor);
  Result<void> read_rows(std::size_t position, const format::IndexView::Tensor& tensor);
  Result<void> give(std::span<const std::byte> block);
  std::span<const std::byte> cast(std::span<const std::byte> block);

  const StreamRequest& request_;
  const BlockSink& sink_;
  os::WorkQueue& queue_;
  std::vector<CastCounts> tallies_;  // parallel to request.casts
  Buffer block_;
  Buffer cast_;

  // Of the tensor that is read.
  std::size_t i_ = 0;
  std::uint64_t done_bytes_ = 0;
  std::uint64_t block_bytes_ =
      0;  // what is read at once, so that no block has more when it is cast
  std::optional<std::size_t> casting_;  // the row
};

Result<void> Reader::read(std::size_t i) {
  const OutgoingTensor& outgoing = request_.tensors[i];
  const auto tensor = request_.source.index().tensor(outgoing.position);
  i_ = i;
  done_bytes_ = 0;
  block_bytes_ = kWriteBlockBytes;
  casting_.reset();
  for (std::size_t row = 0; row < request_.casts.size(); ++row) {
    const Cast& cast = request_.casts[row].cast;
    if (tensor.dtype != cast.from || outgoing.spec.dtype != cast.to) continue;
    casting_ = row;
    const std::uint64_t growth = element_bytes(cast.to) / element_bytes(cast.from);
    block_bytes_ /= std::max<std::uint64_t>(1, growth);
  }
  const bool in_one_place = !tensor.partitioned() && !tensor.big_endian && tensor.strides.empty();
  return in_one_place ? read_blocks(tensor) : read_rows(outgoing.position, tensor);
}

// What lies in one native piece is summed on the way.
Result<void> Reader::read_blocks(const format::IndexView::Tensor& tensor) {
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < tensor.size_bytes;) {
    const auto block = block_.first(std::min(block_bytes_, tensor.size_bytes - done));
    CAIRN_CHECK(request_.source.shards().copy_out(tensor.span.shard,
                                                  tensor.span.offset_bytes + done, block));
    if (tensor.span.crc32c) crc = format::crc32c(block, crc);
    done += block.size();
    CAIRN_CHECK(give(block));
  }
  if (tensor.span.crc32c && crc != *tensor.span.crc32c)
    return request_.source.damaged(request_.tensors[i_].position, tensor.span, crc);
  return {};
}

// Puts a tensor together that lies in several pieces, is big-endian or not row-major.
Result<void> Reader::read_rows(std::size_t position, const format::IndexView::Tensor& tensor) {
  CAIRN_TRY(size_bytes, request_.source.read_bytes(position, {}));
  if (size_bytes == 0) return {};
  const std::uint64_t element_bytes = std::max(1u, tensor.element_bits / 8u);
  Cut cut(tensor.shape, size_bytes / element_bytes, block_bytes_ / element_bytes);
  do {
    const auto block = block_.first(cut.slice_elements() * element_bytes);
    CAIRN_CHECK(request_.source.read(position, block, cut.slice()));
    CAIRN_CHECK(give(block));
  } while (cut.next());
  return {};
}

std::span<const std::byte> Reader::cast(std::span<const std::byte> block) {
  CastCounts& tally = tallies_[*casting_];
  const Cast& cast = request_.casts[*casting_].cast;
  const std::uint64_t value_count = block.size() / element_bytes(cast.from);
  const auto values = cast_.first(value_count * element_bytes(cast.to));
  const CastTally counted = cast_values(cast, block, values);
  tally.value_count += value_count;
  tally.became_infinite += counted.became_infinite;
  tally.became_zero += counted.became_zero;
  return values;
}

Result<void> Reader::give(std::span<const std::byte> block) {
  // Between two blocks: one tensor may be all there is.
  CAIRN_CHECK(os::unless_stopped(request_.exec.stop));
  const auto bytes = casting_ ? cast(block) : block;
  CAIRN_CHECK(sink_(i_, done_bytes_, bytes));
  done_bytes_ += bytes.size();
  queue_.did(bytes.size());
  return {};
}

void Reader::add_counts() const {
  for (std::size_t row = 0; row < tallies_.size(); ++row) {
    request_.casts[row].value_count += tallies_[row].value_count;
    request_.casts[row].became_infinite += tallies_[row].became_infinite;
    request_.casts[row].became_zero += tallies_[row].became_zero;
  }
}

}  // namespace

Result<void> stream_tensors(const StreamRequest& request, const BlockSink& sink) {
  std::vector<std::uint64_t> sizes;
  std::uint64_t total_bytes = 0;
  for (const OutgoingTensor& tensor : request.tensors) {
    CAIRN_TRY(size_bytes, spec_bytes(tensor.spec));
    sizes.push_back(size_bytes);
    total_bytes += size_bytes;
  }
  // Small ones stay in the order of their names, which is that of their bytes in most files.
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto larger_first = [&](std::size_t a, std::size_t b) {
    return std::pair(sizes[b] / kWriteBlockBytes, a) < std::pair(sizes[a] / kWriteBlockBytes, b);
  };
  std::ranges::sort(order, larger_first);
  const unsigned threads =
      std::min({kThreadsMax, os::thread_count(request.exec),
                static_cast<unsigned>(std::max<std::size_t>(1, order.size()))});
  std::mutex counts;
  return os::run_threads(request.exec, {order.size(), total_bytes, threads},
                         [&](os::WorkQueue& queue) -> Result<void> {
                           Reader reader(request, sink, queue);
                           while (const auto next = queue.next())
                             CAIRN_CHECK(reader.read(order[*next]));
                           const std::lock_guard lock(counts);
                           reader.add_counts();
                           return {};
                         });
}

}  // namespace cairn::internal
