#pragma once

// What encoding, checking and reading of Cairn's index share; private to this folder. The bytes are
// described in FORMAT.md, "Cairn's index".

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/index_generated.h"
#include "format/plain_tensors.h"

namespace cairn::format::index {

// The header, byte by byte.
inline constexpr std::string_view kMagic(
    "\x89"
    "CAIRN\r\n",
    8);
inline constexpr std::uint32_t kHeaderBytes = 64;
inline constexpr std::size_t kVersionAt = 8;
inline constexpr std::size_t kHeaderBytesAt = 12;
inline constexpr std::size_t kRequiredFeaturesAt = 16;
inline constexpr std::size_t kOptionalFeaturesAt = 24;
inline constexpr std::size_t kBodyBytesAt = 32;
inline constexpr std::size_t kZeroAt = 40;
inline constexpr std::size_t kDigestAt = 48;

// The required features, each set only where an index makes use of it.
inline constexpr std::uint64_t kBlocksFeature = 1 << 0;
inline constexpr std::uint64_t kByteOrderFeature = 1 << 1;
inline constexpr std::uint64_t kStridesFeature = 1 << 2;
inline constexpr std::uint64_t kAnyFileFeature = 1 << 3;
inline constexpr std::uint64_t kSourceIndexFeature = 1 << 4;
inline constexpr std::uint64_t kKnownFeatures = (1 << 5) - 1;

// Flags of a tensor's or a slice's record.
inline constexpr std::uint32_t kHasCrc32c = 1;
inline constexpr std::uint32_t kHasContentHash = 2;
inline constexpr std::uint32_t kOtherByteOrder = 4;

// Codes of dtypes from here on are positions in opaque_dtypes.
inline constexpr std::uint32_t kFirstOpaque = static_cast<std::uint32_t>(DType::Opaque);
inline constexpr std::uint32_t kOpaqueDtypesMax = 65'536 - kFirstOpaque;

// XXH3-128 of all bytes of the file but the digest's own.
Digest128 file_digest(std::span<const std::byte> file);

// What grows with the tensors, each column as it lies in the body.
struct Columns {
  explicit Columns(const fbs::Index& root) noexcept;
  Columns(const fbs::Index& root, const PlainTensors& plain) noexcept;

  std::span<const fbs::TensorRecord> tensors;
  std::string_view names;
  std::span<const std::int64_t> dims;
  std::span<const std::uint32_t> chunk_crc32cs;
  std::span<const fbs::Hash128> content_hashes;
  std::span<const fbs::SliceRecord> slices;
  std::span<const fbs::ExtentRecord> extents;
};

// Two types of the same bytes.
std::span<const fbs::TensorRecord> as_stored(std::span<const TensorRecord> records) noexcept;
std::span<const TensorRecord> as_plain(std::span<const fbs::TensorRecord> records) noexcept;

// The same of what few indexes have: looked for only where it is asked for.
struct RareColumns {
  explicit RareColumns(const fbs::Index& root) noexcept;

  std::span<const fbs::BlockRecord> opaque_blocks;
  std::span<const fbs::StridedRecord> strided;
  std::span<const std::int64_t> strides;
};

// Where the parts of a tensor start in the columns: where those of the tensor before it end.
struct Starts {
  std::uint32_t name = 0;
  std::uint32_t dims = 0;
  std::uint32_t chunks = 0;
  std::uint32_t slices = 0;
};
inline Starts ends_of(const fbs::TensorRecord& record) noexcept {
  return {record.name_end(), record.dims_end(), record.chunks_end(), record.slices_end()};
}
inline Starts starts_of(std::span<const fbs::TensorRecord> tensors, std::size_t tensor) noexcept {
  return tensor == 0 ? Starts{} : ends_of(tensors[tensor - 1]);
}
inline std::uint32_t extents_start_of(const Columns& columns, std::size_t slice) noexcept {
  return slice == 0 ? 0 : columns.slices[slice - 1].extents_end();
}

inline std::uint32_t strides_start_of(const RareColumns& columns, std::size_t strided) noexcept {
  return strided == 0 ? 0 : columns.strided[strided - 1].strides_end();
}

// Elements begin … end − 1 of a column; the caller knows that they are there.
template <class T>
std::span<const T> part(std::span<const T> column, std::uint32_t begin,
                        std::uint32_t end) noexcept {
  return column.subspan(begin, end - begin);
}
inline std::string_view part(std::string_view column, std::uint32_t begin,
                             std::uint32_t end) noexcept {
  return {column.data() + begin, end - begin};
}

Digest128 digest_of(const fbs::Hash128& hash) noexcept;
FileIdentity identity_of(const fbs::Identity& identity) noexcept;

// Text as FlatBuffers stores it; it may hold NUL.
inline std::string_view text_of(const flatbuffers::String& text) noexcept {
  return {text.c_str(), text.size()};
}

// Whether the name is one file's: it cannot lead outside of the checkpoint's directory.
bool is_bare(std::string_view name) noexcept;

// What shards may be called. Files are opened by the names that an index in a file has, so these
// are bare. The shards of an index in memory are open already, and may lie in folders.
enum class ShardNames : std::uint8_t { Bare, Any };

// Two parts of check_meaning(): where the index came from; and the tensors that are not row-major,
// after all other rules about tensors.
Decoded<void> check_source_index(const fbs::Index& root, std::span<const std::byte> file);
Decoded<void> check_strides(const Columns& columns, const RareColumns& rare,
                            std::span<const std::byte> file);

// Whether a body that FlatBuffers' verifier accepted means something: every rule of FORMAT.md that
// a schema cannot say. `file` holds the body; offsets in a DecodeError count from its start, those
// of columns that lie elsewhere mean nothing.
Decoded<void> check_meaning(const fbs::Index& root, const Columns& columns,
                            std::span<const std::byte> file, ShardNames names = ShardNames::Bare);

// The file's bytes for facts that may break the rules: what encode_index starts with, and how tests
// break them. Errors: Invalid (too many for one index, or nothing that an index has a place for).
Decoded<std::vector<std::byte>> encode_unchecked(const IndexFacts& facts);

}  // namespace cairn::format::index
