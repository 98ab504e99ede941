#include "lib/read/sums.h"

#include <algorithm>
#include <memory>

#include "format/checked.h"
#include "format/digest.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/read/blocks.h"
#include "lib/read/slices.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

Piece piece_at(const format::IndexView::Tensor& tensor, std::size_t position,
               const format::Span& span) {
  Piece piece;
  piece.shard = span.shard;
  piece.offset_bytes = span.offset_bytes;
  piece.size_bytes = span.size_bytes;
  piece.crc32c = span.crc32c.value_or(0);
  piece.tensor = position;
  piece.encoding = tensor.encoding;
  return piece;
}

}  // namespace

Piece piece_of(const format::IndexView& index, std::size_t position) {
  const auto tensor = index.tensor(position);
  Piece piece = piece_at(tensor, position, tensor.span);
  piece.chunk_crc32cs = tensor.chunk_crc32cs;
  if (tensor.encoding != format::Encoding::Raw)
    piece.encoded_count = format::element_count(tensor.shape).value_or(0);
  return piece;
}

Piece piece_of_slice(const format::IndexView& index, std::size_t position, std::uint32_t slice) {
  const auto tensor = index.tensor(position);
  const auto stored = index.slice(slice);
  Piece piece = piece_at(tensor, position, stored.span);
  if (tensor.encoding != format::Encoding::Raw)
    piece.encoded_count = element_count(box_of(stored.extents, tensor.shape));
  return piece;
}

void append_pieces(const format::IndexView& index, std::size_t position,
                   std::vector<Piece>& pieces) {
  const auto tensor = index.tensor(position);
  if (!tensor.partitioned() && tensor.span.crc32c) pieces.push_back(piece_of(index, position));
  for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i) {
    if (index.slice(i).span.crc32c) pieces.push_back(piece_of_slice(index, position, i));
  }
}

Result<std::uint32_t> crc32c_of(const os::File& file, std::uint64_t offset_bytes,
                                std::uint64_t size_bytes) {
  std::uint32_t crc = 0;
  CAIRN_CHECK(for_each_block(file, offset_bytes, size_bytes,
                             [&](auto block) { crc = format::crc32c(block, crc); }));
  return crc;
}

Result<std::uint32_t> Checksummer::sum(const Piece& piece, std::uint64_t offset_bytes,
                                       std::uint64_t size_bytes) const {
  if (piece.encoding != format::Encoding::Raw) return sum_encoded(piece);
  if (checkpoint_.access() == Access::Copy) {
    return format::crc32c(
        checkpoint_.shards().in_memory({piece.shard, offset_bytes, size_bytes, {}}));
  }
  CAIRN_CHECK(checkpoint_.shards().ensure_decoded({piece.shard, offset_bytes, size_bytes, {}}));
  return crc32c_of(checkpoint_.shards().file(piece.shard), offset_bytes, size_bytes);
}

// Strings and variants carry sums of their own inside, which are checked on the way.
Result<std::uint32_t> Checksummer::sum_encoded(const Piece& piece) const {
  const auto& index = checkpoint_.index();
  const bool variant = piece.encoding == format::Encoding::TensorFlowVariant;
  if (variant && index.big_endian()) {
    return Error{Code::Unsupported, 0,
                 checkpoint_.shard_path(piece.shard) + ": tensor " +
                     format::quoted(index.tensor_name(piece.tensor)) +
                     " is a big-endian variant, whose checksum cannot be computed"};
  }
  std::vector<std::byte> read;
  CAIRN_TRY(stored, stored_bytes(piece, read));
  const std::uint64_t count = piece.encoded_count;
  auto crc = variant ? format::tensorflow::variant_crc32c(stored, count)
                     : format::tensorflow::strings_crc32c(stored, count, index.big_endian());
  if (crc) return *crc;
  return Error{crc.error().code, 0,
               checkpoint_.shard_path(piece.shard) + ": tensor " +
                   format::quoted(index.tensor_name(piece.tensor)) + ", byte " +
                   std::to_string(piece.offset_bytes + crc.error().byte_offset) + ": " +
                   crc.error().what};
}

// The bytes of a whole piece, where they lie or as they were read.
Result<std::span<const std::byte>> Checksummer::stored_bytes(const Piece& piece,
                                                             std::vector<std::byte>& read) const {
  if (checkpoint_.access() == Access::Copy) {
    return std::span<const std::byte>(
        checkpoint_.shards().in_memory({piece.shard, piece.offset_bytes, piece.size_bytes, {}}));
  }
  read.resize(piece.size_bytes);
  CAIRN_CHECK(checkpoint_.shards().read_at(piece.shard, piece.offset_bytes, read));
  return std::span<const std::byte>(read);
}

}  // namespace cairn::internal
