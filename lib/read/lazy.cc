// Checks on first use: nobody computes with a damaged weight, and nobody waits for the sum of what
// he did not ask for.
//
// What is asked for decides what is summed: a whole tensor, or the chunks or stored slices that a
// part of it touches. Each is remembered in a flag of its own, set once, so that later uses cost an
// atomic load. Where an index has one sum for a large tensor (all that TensorFlow's have), a part
// of it costs a skip the whole, the first time.

#include "format/digest.h"
#include "format/quoted.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/slices.h"
#include "lib/read/sums.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

bool is_set(const std::atomic<bool>& flag) noexcept { return flag.load(std::memory_order_acquire); }

void set(std::atomic<bool>& flag) noexcept { flag.store(true, std::memory_order_release); }

}  // namespace

Result<void> OpenCheckpoint::ensure_checked(std::size_t position) const {
  if (!lazy_ || is_set(checked_[position])) return {};
  const auto tensor = index().tensor(position);
  for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i)
    CAIRN_CHECK(ensure_slice_checked(position, i));
  if (!tensor.partitioned() && tensor.span.crc32c) {
    const Piece piece = piece_of(index(), position);
    CAIRN_TRY(sum, Checksummer(*this).sum(piece, piece.offset_bytes, piece.size_bytes));
    if (sum != piece.crc32c) return damaged(position, tensor.span, sum);
  }
  mark_checked(position);
  return {};
}

Result<void> OpenCheckpoint::ensure_checked(std::size_t position, const StoredPart& part) const {
  if (!lazy_ || is_set(checked_[position])) return {};
  const auto tensor = index().tensor(position);
  if (tensor.partitioned()) return ensure_slice_checked(position, part.slice);
  if (tensor.chunk_crc32cs.empty()) return ensure_checked(position);
  const auto touched =
      touched_blocks(part.box, part.shared, tensor.element_bits / 8, index().chunk_bytes());
  for (std::uint32_t i = 0; i < touched.size(); ++i) {
    if (touched[i]) CAIRN_CHECK(ensure_chunk_checked(position, i));
  }
  return {};
}

Result<void> OpenCheckpoint::ensure_slice_checked(std::size_t position, std::uint32_t slice) const {
  std::atomic<bool>& checked = checked_slices_[slice];
  if (is_set(checked)) return {};
  const format::Span span = index().slice(slice).span;
  if (span.crc32c) {
    const Piece piece = piece_of_slice(index(), position, slice);
    CAIRN_TRY(sum, Checksummer(*this).sum(piece, piece.offset_bytes, piece.size_bytes));
    if (sum != piece.crc32c) return damaged(position, span, sum);
  }
  set(checked);
  return {};
}

Result<void> OpenCheckpoint::ensure_chunk_checked(std::size_t position, std::uint32_t chunk) const {
  const auto tensor = index().tensor(position);
  std::atomic<bool>& checked = checked_chunks_[tensor.chunks_begin + chunk];
  if (is_set(checked)) return {};
  const std::uint64_t begin = std::uint64_t{chunk} * index().chunk_bytes();
  format::Span span = tensor.span;
  span.offset_bytes += begin;
  span.size_bytes = std::min<std::uint64_t>(index().chunk_bytes(), span.size_bytes - begin);
  span.crc32c = tensor.chunk_crc32cs[chunk];
  CAIRN_TRY(
      sum, Checksummer(*this).sum(piece_of(index(), position), span.offset_bytes, span.size_bytes));
  if (sum != span.crc32c) return damaged(position, span, sum);
  set(checked);
  return {};
}

Error OpenCheckpoint::damaged(std::size_t position, const format::Span& span,
                              std::uint32_t computed) const {
  return {Code::Corrupt, 0,
          shard_path(span.shard) + ": tensor " + format::quoted(index().tensor_name(position)) +
              " is damaged: bytes " + std::to_string(span.offset_bytes) + " to " +
              std::to_string(span.offset_bytes + span.size_bytes) + " have the checksum " +
              format::crc32c_hex(computed) + ", but the stored checksum is " +
              format::crc32c_hex(span.crc32c.value_or(0)) +
              "; get the file again, or use salvage() to keep the other tensors"};
}

}  // namespace cairn::internal
