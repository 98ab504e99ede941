#include "lib/edit/stream.h"

#include <algorithm>
#include <vector>

#include "format/digest.h"
#include "lib/os/parallel.h"
#include "lib/try.h"
#include "lib/write/batch.h"

namespace cairn::internal {
namespace {

// Puts a tensor together that lies in several pieces, big-endian or not row-major: some rows at a
// time.
Result<void> stream_rows(const OpenCheckpoint& source, std::size_t position, const Sink& sink) {
  const auto shape = source.index().tensor(position).shape;
  CAIRN_TRY(size_bytes, source.read_bytes(position, {}));
  if (size_bytes == 0) return {};
  const std::int64_t rows = shape.empty() ? 1 : shape[0];
  const std::uint64_t row_bytes = size_bytes / static_cast<std::uint64_t>(rows);
  const auto rows_at_once =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kWriteBlockBytes / row_bytes));
  std::vector<Range> slice(shape.size());
  std::vector<std::byte> block;
  for (std::int64_t row = 0; row < rows; row += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, rows - row);
    if (!slice.empty()) slice[0] = {row, count};
    block.resize(static_cast<std::uint64_t>(count) * row_bytes);
    CAIRN_CHECK(source.read(position, block, slice));
    CAIRN_CHECK(sink(block));
  }
  return {};
}

}  // namespace

Result<void> stream_tensor(const OpenCheckpoint& source, std::size_t position, const Sink& sink) {
  const auto tensor = source.index().tensor(position);
  if (tensor.partitioned() || tensor.big_endian || !tensor.strides.empty())
    return stream_rows(source, position, sink);
  std::vector<std::byte> block(std::min(kWriteBlockBytes, tensor.size_bytes));
  std::uint32_t crc = 0;
  for (std::uint64_t done = 0; done < tensor.size_bytes; done += block.size()) {
    block.resize(std::min<std::uint64_t>(block.size(), tensor.size_bytes - done));
    CAIRN_CHECK(
        source.shards().copy_out(tensor.span.shard, tensor.span.offset_bytes + done, block));
    crc = format::crc32c(block, crc);
    CAIRN_CHECK(sink(block));
  }
  if (tensor.span.crc32c && crc != *tensor.span.crc32c)
    return source.damaged(position, tensor.span, crc);
  return {};
}

Result<void> stream_tensors(const OpenCheckpoint& source, std::span<const OutgoingTensor> tensors,
                            const TransferOptions& options, const BlockSink& sink) {
  std::uint64_t total_bytes = 0;
  for (const OutgoingTensor& tensor : tensors)
    total_bytes += source.index().tensor(tensor.position).size_bytes;
  const auto pour_one = [&](std::size_t i) -> Result<std::uint64_t> {
    std::uint64_t done = 0;
    const Sink count = [&](auto block) -> Result<void> {
      // Between two blocks: one tensor may be all there is.
      CAIRN_CHECK(os::unless_stopped(options.exec.stop));
      auto written = sink(i, done, block);
      done += block.size();
      return written;
    };
    CAIRN_CHECK(stream_tensor(source, tensors[i].position, count));
    return done;
  };
  return os::run_parallel(options.exec, tensors.size(), total_bytes, pour_one);
}

}  // namespace cairn::internal
