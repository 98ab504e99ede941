#pragma once

// Stored pieces (ranges of bytes that have a sum), and the sums of their bytes as they are now.

#include <cstdint>
#include <span>
#include <tuple>
#include <vector>

#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

inline constexpr std::size_t kNoTensor = static_cast<std::size_t>(-1);  // a header, or padding

// Bytes with one stored sum.
struct Piece {
  std::uint32_t shard = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint32_t crc32c = 0;
  std::size_t tensor = kNoTensor;
  format::Encoding encoding = format::Encoding::Raw;
  std::uint64_t encoded_count = 0;  // elements that they encode; 0 where they are raw
  std::span<const std::uint32_t> chunk_crc32cs;

  auto place() const noexcept { return std::tuple(shard, offset_bytes, size_bytes); }
  auto key() const noexcept {
    return std::tuple(shard, offset_bytes, size_bytes, crc32c, encoding, encoded_count);
  }
};

// The piece of a tensor that is not partitioned, and that of one slice: `slice` counts all slices
// of the index.
Piece piece_of(const format::IndexView& index, std::size_t position);
Piece piece_of_slice(const format::IndexView& index, std::size_t position, std::uint32_t slice);

// The pieces of one tensor that have a sum.
void append_pieces(const format::IndexView& index, std::size_t position,
                   std::vector<Piece>& pieces);

// The sum of a file's bytes. Errors: Io.
Result<std::uint32_t> crc32c_of(const os::File& file, std::uint64_t offset_bytes,
                                std::uint64_t size_bytes);

// The sums of one checkpoint's bytes.
class Checksummer {
 public:
  explicit Checksummer(const OpenCheckpoint& checkpoint) : checkpoint_(checkpoint) {}

  // The sum of a range of a raw piece. For an encoded piece, the sum of the whole, whatever the
  // range. Errors: Corrupt (it breaks the rules of its encoding), Unsupported (big-endian
  // variants), Io.
  Result<std::uint32_t> sum(const Piece& piece, std::uint64_t offset_bytes,
                            std::uint64_t size_bytes) const;

 private:
  Result<std::uint32_t> sum_encoded(const Piece& piece) const;
  Result<std::span<const std::byte>> stored_bytes(const Piece& piece,
                                                  std::vector<std::byte>& read) const;

  const OpenCheckpoint& checkpoint_;
};

}  // namespace cairn::internal
