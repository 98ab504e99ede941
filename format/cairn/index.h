#pragma once

// Cairn's index, P.cairn: a 64-byte header and one FlatBuffers buffer, used in place. The bytes are
// described in FORMAT.md.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/plain_tensors.h"

namespace cairn::format {

inline constexpr std::uint32_t kIndexVersion = 1;

// The file's bytes for these facts. Deterministic. Errors: Invalid, where the facts break a rule
// that decode checks (unsorted or equal names, a span outside its shard, …) or are too many for one
// index.
Decoded<std::vector<std::byte>> encode_index(const IndexFacts& facts);

class IndexView;
// The same with the tensors of an index that is_of_plain_tensors(); facts.tensors is empty.
Decoded<std::vector<std::byte>> encode_index(const IndexFacts& facts, const IndexView& tensors);

// Builds the index in memory, for use in this process: without the digest, which only a file needs.
// The rules that decode checks are checked here, once. `plain`: the tensors, sorted by name, if
// facts.tensors is empty; the index uses these columns without a copy.
struct BuiltIndex;
Decoded<BuiltIndex> build_index(const IndexFacts& facts,
                                std::optional<PlainTensors> plain = std::nullopt);

// A view over a valid index; its bytes must stay where they are, 8-byte aligned.
class IndexView {
 public:
  // One tensor, as views into the index.
  struct Tensor {
    std::string_view name;
    DType dtype{};
    std::string_view opaque_dtype;
    std::uint16_t element_bits = 0;  // as stored; 0 for strings, variants and blocks
    Block block;                     // of an opaque dtype without bits
    bool big_endian = false;
    Encoding encoding{};
    std::span<const std::int64_t> shape;
    std::span<const std::int64_t> strides;  // in elements; empty: row-major
    std::uint64_t size_bytes = 0;           // of all slices together, if it is partitioned
    Span span;                              // of a tensor that is not partitioned
    std::span<const std::uint32_t> chunk_crc32cs;
    std::uint32_t chunks_begin = 0;  // where these stand among all of the index
    std::optional<Digest128> content_hash;
    std::uint32_t slices_begin = 0;  // into slice()
    std::uint32_t slices_end = 0;
    bool partitioned() const noexcept { return slices_begin != slices_end; }
  };
  struct Slice {
    std::span<const Extent> extents;
    Span span;
  };
  struct Shard {
    std::string_view name;
    ShardKind kind{};
    FileIdentity identity;
    std::uint64_t head_bytes = 0;
    std::uint32_t head_crc32c = 0;
    std::uint64_t live_bytes = 0;
  };

  // Checks everything: magic, version, features, size, digest over all bytes, the FlatBuffers
  // structure, and the meaning: names sorted and unique, shapes that do not overflow, sizes that
  // agree with shape and dtype, spans inside their shards, bare shard names. Errors: Corrupt,
  // Unsupported (newer version or unknown required feature). Cost: linear; about 1 ms for 100,000
  // tensors, a third of it for the digest.
  static Decoded<IndexView> decode(std::span<const std::byte> file);

  // What decode() does, in two halves that may run at once: neither needs the other's answer to be
  // safe. Where the digest differs, that is the reason to report.
  static Decoded<void> check_digest(std::span<const std::byte> file);
  static Decoded<IndexView> check_contents(std::span<const std::byte> file);

  std::optional<std::int64_t> step() const noexcept;
  std::int64_t created_ns() const noexcept;
  std::string_view producer() const noexcept;
  std::uint32_t chunk_bytes() const noexcept;
  std::size_t metadata_count() const noexcept;
  std::pair<std::string_view, std::string_view> metadata(std::size_t position) const noexcept;
  std::optional<std::string_view> metadata(std::string_view key) const noexcept;
  std::size_t safetensors_metadata_count() const noexcept;
  std::pair<std::string_view, std::string_view> safetensors_metadata(
      std::size_t position) const noexcept;
  BundleHeader bundle() const;
  bool big_endian() const noexcept;  // unless a tensor says otherwise
  TensorFlowIndexFacts tensorflow_index() const noexcept;
  std::optional<SourceIndexFacts> source_index() const;

  std::size_t shard_count() const noexcept;
  Shard shard(std::size_t position) const noexcept;

  std::size_t tensor_count() const noexcept;
  std::string_view tensor_name(std::size_t position) const noexcept;
  DType tensor_dtype(std::size_t position) const noexcept;
  std::span<const std::int64_t> tensor_shape(std::size_t position) const noexcept;
  std::uint64_t tensor_size_bytes(std::size_t position) const noexcept;
  Tensor tensor(std::size_t position) const noexcept;
  // Where a tensor's values are, if they are stored as they are in memory: raw, of whole bytes, in
  // native byte order, row-major, not partitioned. Costs a third of tensor().
  std::optional<Span> plain_span(std::size_t position) const noexcept;
  // What nearly every tensor has, column by column, for those who compare many tensors.
  struct TensorColumns {
    static constexpr std::uint8_t kHasContentHash = 2;  // in TensorRecord::flags

    std::span<const TensorRecord> records;
    std::string_view names;
    std::span<const std::int64_t> dims;
    std::span<const Digest128> content_hashes;  // empty: no tensor has one

    std::string_view name(std::size_t position) const noexcept {
      const std::size_t begin = position == 0 ? 0 : records[position - 1].name_end;
      return {names.data() + begin, records[position].name_end - begin};
    }
    std::span<const std::int64_t> shape(std::size_t position) const noexcept {
      const std::size_t begin = position == 0 ? 0 : records[position - 1].dims_end;
      return {dims.data() + begin, records[position].dims_end - begin};
    }
    // nullptr: it has none.
    const Digest128* content_hash(std::size_t position) const noexcept {
      return (records[position].flags & kHasContentHash) == 0 ? nullptr : &content_hashes[position];
    }
  };
  TensorColumns tensor_columns() const noexcept;
  Slice slice(std::uint32_t position) const noexcept;
  std::size_t slice_count() const noexcept;
  std::size_t chunk_count() const noexcept;

  // All names, one after the other, in the order of the tensors.
  std::string_view names() const noexcept { return names_; }
  // Begins to fetch what tensor() reads first from memory, and returns at once.
  void prefetch_tensor(std::size_t position) const noexcept;
  // Position of the first tensor whose name is not below `name`; binary search.
  std::size_t lower_bound(std::string_view name) const noexcept;
  std::optional<std::size_t> find(std::string_view name) const noexcept;

  // Everything as values again: what encode_index takes.
  IndexFacts facts() const;
  // The same without the tensors, which are 300 bytes each.
  IndexFacts facts_beside_tensors() const;
  // Whether it was built from PlainTensors, so that its tensors have nothing but what these hold.
  bool is_of_plain_tensors() const noexcept;

 private:
  friend Decoded<BuiltIndex> build_index(const IndexFacts& facts,
                                         std::optional<PlainTensors> plain);
  friend Decoded<std::vector<std::byte>> encode_index(const IndexFacts& facts,
                                                      const IndexView& tensors);
  explicit IndexView(const void* root) noexcept;
  IndexView(const void* root, const PlainTensors& plain) noexcept
      : root_(root), records_(plain.records()), names_(plain.names()), dims_(plain.dims()) {}

  const void* root_;  // the FlatBuffers table; its type stays in the .cc files
  // The columns that every tensor uses: those of the FlatBuffers table, or of PlainTensors. All
  // other columns are found in the table when they are used.
  std::span<const TensorRecord> records_;
  std::string_view names_;
  std::span<const std::int64_t> dims_;
};

// An index made in memory, and the view over it.
struct BuiltIndex {
  std::shared_ptr<const void> memory;
  IndexView view;
};

}  // namespace cairn::format
