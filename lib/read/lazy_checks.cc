// Checks on first use: nobody computes with a damaged weight, and nobody waits for the checksum of
// a tensor that is not used.
//
// The request decides what is summed: a whole tensor, or the chunks or stored slices that a part of
// it touches. Each has a flag of its own, which is set once, so later uses cost an atomic load. If
// an index has only one sum for a large tensor (as TensorFlow's have), the first use of a part of
// it reads the whole tensor.

#include "lib/read/lazy_checks.h"

#include <algorithm>

#include "lib/read/open_checkpoint.h"
#include "lib/read/slices.h"
#include "lib/read/sums.h"
#include "lib/try.h"

namespace cairn::internal {

LazyChecks::LazyChecks(const OpenCheckpoint& checkpoint, bool wanted)
    : checkpoint_(checkpoint),
      wanted_(wanted),
      tensors_(std::make_unique<Flag[]>(checkpoint.index().tensor_count())),
      chunks_(std::make_unique<Flag[]>(checkpoint.index().chunk_count())),
      slices_(std::make_unique<Flag[]>(checkpoint.index().slice_count())),
      disjoint_(std::make_unique<Flag[]>(checkpoint.index().slice_count())) {}

Result<void> LazyChecks::check(std::size_t position) const {
  const auto& index = checkpoint_.index();
  const auto tensor = index.tensor(position);
  for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i)
    CAIRN_CHECK(ensure_slice(position, i));
  if (!tensor.partitioned() && tensor.span.crc32c) {
    const Piece piece = piece_of(index, position);
    CAIRN_TRY(sum, Checksummer(checkpoint_).sum(piece, piece.offset_bytes, piece.size_bytes));
    if (sum != piece.crc32c) return checkpoint_.damaged(position, tensor.span, sum);
  }
  mark_checked(position);
  return {};
}

Result<void> LazyChecks::check(std::size_t position, const StoredPart& part) const {
  const auto& index = checkpoint_.index();
  const auto tensor = index.tensor(position);
  if (tensor.partitioned()) return ensure_slice(position, part.slice);
  if (tensor.chunk_crc32cs.empty()) return ensure(position);
  const auto touched =
      touched_blocks(part.box, part.shared, tensor.element_bits / 8, index.chunk_bytes());
  for (std::uint32_t i = 0; i < touched.size(); ++i) {
    if (touched[i]) CAIRN_CHECK(ensure_chunk(position, i));
  }
  return {};
}

Result<void> LazyChecks::ensure_slice(std::size_t position, std::uint32_t slice) const {
  Flag& checked = of_slice(slice);
  if (is_set(checked)) return {};
  const auto& index = checkpoint_.index();
  const format::Span span = index.slice(slice).span;
  if (span.crc32c) {
    const Piece piece = piece_of_slice(index, position, slice);
    CAIRN_TRY(sum, Checksummer(checkpoint_).sum(piece, piece.offset_bytes, piece.size_bytes));
    if (sum != piece.crc32c) return checkpoint_.damaged(position, span, sum);
  }
  set(checked);
  return {};
}

Result<void> LazyChecks::ensure_chunk(std::size_t position, std::uint32_t chunk) const {
  const auto& index = checkpoint_.index();
  const auto tensor = index.tensor(position);
  Flag& checked = of_chunk(tensor.chunks_begin + chunk);
  if (is_set(checked)) return {};
  const std::uint64_t begin = std::uint64_t{chunk} * index.chunk_bytes();
  format::Span span = tensor.span;
  span.offset_bytes += begin;
  span.size_bytes = std::min<std::uint64_t>(index.chunk_bytes(), span.size_bytes - begin);
  span.crc32c = tensor.chunk_crc32cs[chunk];
  CAIRN_TRY(
      sum,
      Checksummer(checkpoint_).sum(piece_of(index, position), span.offset_bytes, span.size_bytes));
  if (sum != span.crc32c) return checkpoint_.damaged(position, span, sum);
  set(checked);
  return {};
}

Result<void> LazyChecks::ensure_disjoint(std::size_t position) const {
  const auto& index = checkpoint_.index();
  const auto tensor = index.tensor(position);
  if (!tensor.partitioned() || is_set(disjoint_[tensor.slices_begin])) return {};
  std::vector<Box> boxes;
  for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i)
    boxes.push_back(box_of(index.slice(i).extents, tensor.shape));
  const auto pair = overlapping(boxes);
  if (!pair) return checkpoint_.about(position, pair.error().code, pair.error().what);
  if (*pair) {
    return checkpoint_.about(position, Code::Corrupt,
                             "has slices that overlap: number " + std::to_string((*pair)->first) +
                                 " and " + std::to_string((*pair)->second) + " of " +
                                 std::to_string(boxes.size()));
  }
  set(disjoint_[tensor.slices_begin]);
  return {};
}

}  // namespace cairn::internal
