#pragma once

// What an index says, as plain structs, for the decoders and encoders of all formats. A decoder of
// a foreign index produces facts; Cairn's index is encoded from facts.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/dtype.h"
#include "cairn/tensor.h"

namespace cairn::format {

// How a tensor's elements lie in its bytes.
enum class Encoding : std::uint8_t {
  Raw = 0,                // elements one after another, in the checkpoint's byte order
  TensorFlowString = 1,   // FORMAT.md, "Strings"
  TensorFlowVariant = 2,  // FORMAT.md, "Variants"
};

// The encoding that TensorFlow, and so Cairn, stores this dtype in.
constexpr Encoding encoding_of(DType dtype) noexcept {
  if (dtype == DType::String) return Encoding::TensorFlowString;
  if (dtype == DType::Variant) return Encoding::TensorFlowVariant;
  return Encoding::Raw;
}

// A range of one dimension. TensorFlow writes "-" for a whole dimension and distinguishes it from
// 0,N.
struct Extent {
  static constexpr std::int64_t kWhole = -1;
  std::int64_t start = 0;
  std::int64_t length = kWhole;
  friend bool operator==(const Extent&, const Extent&) = default;
};

// A range of bytes in a shard, with its checksum.
struct Span {
  std::uint32_t shard = 0;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::optional<std::uint32_t> crc32c;  // unmasked
  friend bool operator==(const Span&, const Span&) = default;
};

// One stored slice of a partitioned variable.
struct SliceFacts {
  std::vector<Extent> extents;  // one per dimension
  Span span;
  friend bool operator==(const SliceFacts&, const SliceFacts&) = default;
};

// The layout of an opaque dtype whose elements have no bits of their own: this many elements share
// this many bytes.
struct Block {
  std::uint32_t elements = 0;  // 0: no blocks
  std::uint32_t bytes = 0;
  friend bool operator==(const Block&, const Block&) = default;
};

struct TensorFacts {
  std::string name;
  DType dtype{};
  std::string opaque_dtype;  // the dtype's name where it is DType::Opaque
  std::uint16_t opaque_bits = 0;
  Block opaque_block;             // with bits: none
  bool other_byte_order = false;  // than the checkpoint's
  Encoding encoding = Encoding::Raw;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in elements, one per dimension; empty: row-major
  Span span;                          // of a tensor that is not partitioned
  std::vector<std::uint32_t>
      chunk_crc32cs;  // plain sums of each chunk; empty: unknown, or not larger than a chunk
  std::optional<Digest128> content_hash;
  std::vector<SliceFacts> slices;  // in stored order; empty: not partitioned
  friend bool operator==(const TensorFacts&, const TensorFacts&) = default;
};

// The identity by which a file is recognised again. Not ctime or the link count: linking changes
// them.
struct FileIdentity {
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

enum class ShardKind : std::uint8_t {
  Universal = 0,    // a valid safetensors file
  Headerless = 1,   // Cairn's, bytes only
  TensorFlow = 2,   // adopted
  Safetensors = 3,  // adopted
  AnyFile = 4,      // adopted, of a format that has no number here
};

struct ShardFacts {
  std::string name;  // a bare file name
  ShardKind kind{};
  FileIdentity identity;
  std::uint64_t head_bytes = 0;  // what stands before the first tensor
  std::uint32_t head_crc32c = 0;
  std::uint64_t live_bytes = 0;  // bytes that tensors own, shared ranges once
  friend bool operator==(const ShardFacts&, const ShardFacts&) = default;
};

// What the header of a TensorFlow bundle holds beside its entries.
struct BundleHeader {
  std::int32_t num_shards = 1;
  bool big_endian = false;
  std::int32_t producer = 1;
  std::int32_t min_consumer = 0;
  std::vector<std::int32_t> bad_consumers;
  friend bool operator==(const BundleHeader&, const BundleHeader&) = default;
};

// P.index as it was when Cairn's index was written.
struct TensorFlowIndexFacts {
  bool present = false;
  FileIdentity identity;
  Digest128 digest;  // XXH3-128 of its bytes
  friend bool operator==(const TensorFlowIndexFacts&, const TensorFlowIndexFacts&) = default;
};

struct FileRange {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  friend bool operator==(const FileRange&, const FileRange&) = default;
};

// The file of another format that an index was made from: while these bytes of it are the same, the
// index says what it says.
struct SourceIndexFacts {
  std::string name;  // a bare file name
  FileIdentity identity;
  Digest128 digest;               // XXH3-128 of the bytes in `ranges`, one after another
  std::vector<FileRange> ranges;  // ascending, apart from each other
  friend bool operator==(const SourceIndexFacts&, const SourceIndexFacts&) = default;
};

using KeyValues = std::vector<std::pair<std::string, std::string>>;

// Keys that begin so are Cairn's own.
inline constexpr std::string_view kReservedKeys = "cairn.";
inline constexpr std::string_view kMetricKeys = "cairn.metric.";
inline constexpr std::string_view kLeftOutKey =
    "cairn.left_out";  // of an import: sentences, a line each
inline constexpr std::string_view kPinnedKey = "cairn.pinned";  // a Saver never removes it

struct IndexFacts {
  std::optional<std::int64_t> step;
  std::int64_t created_ns = 0;  // since the epoch; 0: not known
  std::string producer;         // "cairn 0.1.0"
  std::uint32_t chunk_bytes = 1u << 20;
  KeyValues metadata;              // sorted by key
  KeyValues safetensors_metadata;  // safetensors' __metadata__, in its order
  BundleHeader bundle;             // also says the byte order of the tensors
  TensorFlowIndexFacts tensorflow_index;
  std::optional<SourceIndexFacts> source_index;
  std::vector<ShardFacts> shards;
  std::vector<TensorFacts> tensors;  // sorted by name as unsigned bytes, unique
  friend bool operator==(const IndexFacts&, const IndexFacts&) = default;
};

}  // namespace cairn::format
