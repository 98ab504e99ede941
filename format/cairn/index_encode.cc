#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>

#include "format/cairn/index.h"
#include "format/cairn/index_layout.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format {

namespace index {

namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
template <class T>
using VectorOffset = Offset<flatbuffers::Vector<T>>;

// The columns while they grow. Their ends fit 32 bits, because measure() found them
// within the limit.
struct GrowingColumns {
  std::vector<fbs::TensorRecord> tensors;
  std::vector<std::uint8_t> names;
  std::vector<std::int64_t> dims;
  std::vector<std::uint32_t> chunk_crc32cs;
  std::vector<fbs::Hash128> content_hashes;
  std::vector<fbs::SliceRecord> slices;
  std::vector<fbs::ExtentRecord> extents;
  std::vector<std::string> opaque_dtypes;
  std::vector<fbs::BlockRecord> opaque_blocks;
  std::vector<fbs::StridedRecord> strided;
  std::vector<std::int64_t> strides;
  bool any_other_byte_order = false;
};

// Those of the columns that every tensor has something in: the growing ones, or others' of the same
// layout.
struct TensorColumns {
  std::span<const fbs::TensorRecord> tensors;
  std::span<const std::uint8_t> names;
  std::span<const std::int64_t> dims;
};

// What one look over the facts tells before anything is built.
struct Amounts {
  std::uint64_t bytes_max = 0;  // of the file
  std::size_t names_bytes = 0;
  std::size_t dims = 0;
  bool any_content_hash = false;
  std::map<std::string, Block> opaque_dtypes;
};

DecodeError invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

// Tables, vtables, lengths and alignment cost less than this for each thing that has any.
constexpr std::uint64_t kOverhead = 96;

std::uint64_t checkpoint_bytes_max(const IndexFacts& facts) {
  std::uint64_t bytes = 1024 + facts.producer.size() + 4 * facts.bundle.bad_consumers.size();
  for (const KeyValues* pairs : {&facts.metadata, &facts.safetensors_metadata}) {
    for (const auto& [key, value] : *pairs) bytes += kOverhead + key.size() + value.size();
  }
  for (const ShardFacts& shard : facts.shards) bytes += kOverhead + shard.name.size();
  if (const auto& source = facts.source_index) {
    bytes += kOverhead + source->name.size() + sizeof(fbs::RangeRecord) * source->ranges.size();
  }
  return bytes;
}

std::uint64_t tensor_bytes_max(const TensorFacts& tensor) {
  std::uint64_t bytes = sizeof(fbs::TensorRecord) + sizeof(fbs::Hash128) + tensor.name.size() +
                        8 * tensor.shape.size() + 4 * tensor.chunk_crc32cs.size();
  if (!tensor.opaque_dtype.empty()) bytes += kOverhead + tensor.opaque_dtype.size();
  if (!tensor.strides.empty()) bytes += 4 + 8 * tensor.strides.size();
  for (const SliceFacts& slice : tensor.slices) {
    bytes += sizeof(fbs::SliceRecord) + sizeof(fbs::ExtentRecord) * slice.extents.size();
  }
  return bytes;
}

bool has_number_alone(const TensorFacts& tensor) noexcept {
  return tensor.dtype != DType::Opaque && tensor.opaque_dtype.empty() && tensor.opaque_bits == 0 &&
         tensor.opaque_block == Block{};
}

Decoded<void> count_dtype(const TensorFacts& tensor, Amounts& amounts) {
  if (tensor.dtype == DType::Opaque) {
    const auto [at, is_new] =
        amounts.opaque_dtypes.try_emplace(tensor.opaque_dtype, tensor.opaque_block);
    if (at->second == tensor.opaque_block) return {};
    return invalid(sentence("tensor ", format::quoted(tensor.name), " has the opaque dtype ",
                            format::quoted(tensor.opaque_dtype),
                            ", but another tensor has this dtype with other blocks"));
  }
  // To drop it silently would not be the same index.
  return invalid(sentence("tensor ", format::quoted(tensor.name), " has the dtype ",
                          name(tensor.dtype), ", but also the name of an opaque dtype"));
}

Decoded<void> check_size(std::uint64_t bytes_max) {
  if (bytes_max <= limits::kIndexBytesMax) return {};
  return invalid(sentence("the index would need up to ", bytes_max,
                          " bytes, more than the limit of ", limits::kIndexBytesMax));
}

Decoded<Amounts> measure(const IndexFacts& facts) {
  Amounts amounts;
  amounts.bytes_max = kHeaderBytes + checkpoint_bytes_max(facts);
  for (const TensorFacts& tensor : facts.tensors) {
    amounts.bytes_max += tensor_bytes_max(tensor);
    amounts.names_bytes += tensor.name.size();
    amounts.dims += tensor.shape.size();
    amounts.any_content_hash |= tensor.content_hash.has_value();
    if (!has_number_alone(tensor)) {
      if (auto counted = count_dtype(tensor, amounts); !counted) return std::move(counted).error();
    }
    if (!tensor.strides.empty() && tensor.strides.size() != tensor.shape.size()) {
      return invalid(sentence("tensor ", format::quoted(tensor.name), " has ",
                              tensor.strides.size(), " strides for ", tensor.shape.size(),
                              " dimensions"));
    }
  }
  if (auto fits = check_size(amounts.bytes_max); !fits) return std::move(fits).error();
  if (amounts.opaque_dtypes.size() > kOpaqueDtypesMax) {
    return invalid(sentence("there are ", amounts.opaque_dtypes.size(),
                            " dtypes without a number, more than the limit of ", kOpaqueDtypesMax));
  }
  return amounts;
}

std::uint32_t end_of(const auto& column) noexcept {
  return static_cast<std::uint32_t>(column.size());
}

fbs::Hash128 hash_of(const Digest128& digest) noexcept {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), digest.bytes.data(), bytes.size());
  return fbs::Hash128(flatbuffers::make_span(bytes));
}

fbs::Identity identity_of(const FileIdentity& identity) noexcept {
  return {identity.size_bytes, identity.mtime_ns, identity.inode};
}

void append_slice(GrowingColumns& columns, const SliceFacts& slice) {
  for (const Extent& extent : slice.extents) {
    columns.extents.emplace_back(extent.start, extent.length);
  }
  const Span& span = slice.span;
  columns.slices.emplace_back(span.offset_bytes, span.size_bytes, span.shard,
                              span.crc32c.value_or(0), end_of(columns.extents),
                              span.crc32c ? kHasCrc32c : 0);
}

std::uint16_t dtype_code(const GrowingColumns& columns, const TensorFacts& tensor) {
  if (tensor.dtype != DType::Opaque) return static_cast<std::uint16_t>(tensor.dtype);
  const auto found = std::ranges::lower_bound(columns.opaque_dtypes, tensor.opaque_dtype);
  return static_cast<std::uint16_t>(kFirstOpaque + (found - columns.opaque_dtypes.begin()));
}

void append_tensor(GrowingColumns& columns, const TensorFacts& tensor) {
  columns.names.insert(columns.names.end(), tensor.name.begin(), tensor.name.end());
  for (const std::int64_t dimension : tensor.shape) columns.dims.push_back(dimension);
  columns.chunk_crc32cs.insert(columns.chunk_crc32cs.end(), tensor.chunk_crc32cs.begin(),
                               tensor.chunk_crc32cs.end());
  for (const SliceFacts& slice : tensor.slices) append_slice(columns, slice);
  columns.any_other_byte_order |= tensor.other_byte_order;
  const Span& span = tensor.span;
  const auto bits = tensor.dtype == DType::Opaque
                        ? tensor.opaque_bits
                        : static_cast<std::uint16_t>(8 * element_bytes(tensor.dtype));
  const auto flags = static_cast<std::uint8_t>((span.crc32c ? kHasCrc32c : 0) |
                                               (tensor.content_hash ? kHasContentHash : 0) |
                                               (tensor.other_byte_order ? kOtherByteOrder : 0));
  if (!tensor.strides.empty()) {
    columns.strides.insert(columns.strides.end(), tensor.strides.begin(), tensor.strides.end());
    columns.strided.emplace_back(end_of(columns.tensors), end_of(columns.strides));
  }
  columns.tensors.emplace_back(span.offset_bytes, span.size_bytes, span.shard,
                               span.crc32c.value_or(0), end_of(columns.names), end_of(columns.dims),
                               end_of(columns.chunk_crc32cs), end_of(columns.slices),
                               dtype_code(columns, tensor), bits,
                               static_cast<std::uint8_t>(tensor.encoding), flags, 0);
}

GrowingColumns columns_of(const IndexFacts& facts, const Amounts& amounts) {
  GrowingColumns columns;
  bool any_block = false;
  for (const auto& [name, block] : amounts.opaque_dtypes) {
    columns.opaque_dtypes.push_back(name);
    columns.opaque_blocks.emplace_back(block.elements, block.bytes);
    any_block |= block != Block{};
  }
  if (!any_block) columns.opaque_blocks.clear();
  columns.tensors.reserve(facts.tensors.size());
  columns.names.reserve(amounts.names_bytes);
  columns.dims.reserve(amounts.dims);
  if (amounts.any_content_hash) columns.content_hashes.reserve(facts.tensors.size());
  for (const TensorFacts& tensor : facts.tensors) {
    append_tensor(columns, tensor);
    if (!amounts.any_content_hash) continue;
    columns.content_hashes.push_back(hash_of(tensor.content_hash.value_or(Digest128{})));
  }
  return columns;
}

// An empty vector is not written: 0 stands for its absence.
template <class T>
VectorOffset<T> numbers(FlatBufferBuilder& builder, std::span<const T> column) {
  return column.empty() ? 0 : builder.CreateVector(column.data(), column.size());
}
template <class T>
VectorOffset<T> numbers(FlatBufferBuilder& builder, const std::vector<T>& column) {
  return numbers(builder, std::span<const T>(column));
}
template <class T>
VectorOffset<const T*> structs(FlatBufferBuilder& builder, std::span<const T> column) {
  return column.empty() ? 0 : builder.CreateVectorOfStructs(column.data(), column.size());
}
template <class T>
VectorOffset<const T*> structs(FlatBufferBuilder& builder, const std::vector<T>& column) {
  return structs(builder, std::span<const T>(column));
}

VectorOffset<Offset<fbs::KeyValue>> key_values(FlatBufferBuilder& builder, const KeyValues& pairs) {
  std::vector<Offset<fbs::KeyValue>> entries;
  entries.reserve(pairs.size());
  for (const auto& [key, value] : pairs) {
    const auto key_text = builder.CreateString(key);
    entries.push_back(fbs::CreateKeyValue(builder, key_text, builder.CreateString(value)));
  }
  return numbers(builder, entries);
}

Offset<fbs::Shard> shard_of(FlatBufferBuilder& builder, const ShardFacts& shard) {
  const fbs::Identity identity = identity_of(shard.identity);
  return fbs::CreateShard(builder, builder.CreateString(shard.name),
                          static_cast<std::uint8_t>(shard.kind), &identity, shard.head_bytes,
                          shard.head_crc32c, shard.live_bytes);
}

Offset<fbs::TensorFlowIndex> tensorflow_index(FlatBufferBuilder& builder,
                                              const TensorFlowIndexFacts& facts) {
  if (!facts.present) return 0;
  const fbs::Identity identity = identity_of(facts.identity);
  const fbs::Hash128 digest = hash_of(facts.digest);
  return fbs::CreateTensorFlowIndex(builder, &identity, &digest);
}

Offset<fbs::SourceIndex> source_index(FlatBufferBuilder& builder, const IndexFacts& facts) {
  if (!facts.source_index) return 0;
  const SourceIndexFacts& source = *facts.source_index;
  std::vector<fbs::RangeRecord> ranges;
  for (const FileRange& range : source.ranges)
    ranges.emplace_back(range.offset_bytes, range.size_bytes);
  const auto range_column = structs(builder, ranges);
  const fbs::Identity identity = identity_of(source.identity);
  const fbs::Hash128 digest = hash_of(source.digest);
  return fbs::CreateSourceIndex(builder, builder.CreateString(source.name), &identity, &digest,
                                range_column);
}

// FlatBuffers are built from their end: what is created last comes first in the file. So the small
// things lie together in front, where one page holds them, and the columns behind.
void build(FlatBufferBuilder& builder, const IndexFacts& facts, const GrowingColumns& columns,
           const TensorColumns& main) {
  const auto strides = numbers(builder, columns.strides);
  const auto strided = structs(builder, columns.strided);
  const auto opaque_blocks = structs(builder, columns.opaque_blocks);
  const auto extents = structs(builder, columns.extents);
  const auto slices = structs(builder, columns.slices);
  const auto content_hashes = structs(builder, columns.content_hashes);
  const auto chunk_crc32cs = numbers(builder, columns.chunk_crc32cs);
  const auto dims = numbers(builder, main.dims);
  const auto names = numbers(builder, main.names);
  const auto tensors = structs(builder, main.tensors);

  const auto opaque_dtypes = columns.opaque_dtypes.empty()
                                 ? VectorOffset<Offset<flatbuffers::String>>(0)
                                 : builder.CreateVectorOfStrings(columns.opaque_dtypes);
  std::vector<Offset<fbs::Shard>> shard_offsets;
  shard_offsets.reserve(facts.shards.size());
  for (const ShardFacts& shard : facts.shards) shard_offsets.push_back(shard_of(builder, shard));
  const auto shards = numbers(builder, shard_offsets);
  const auto safetensors_metadata = key_values(builder, facts.safetensors_metadata);
  const auto metadata = key_values(builder, facts.metadata);
  const auto source = source_index(builder, facts);
  const auto foreign = tensorflow_index(builder, facts.tensorflow_index);
  const BundleHeader& header = facts.bundle;
  const auto bad_consumers = numbers(builder, header.bad_consumers);
  const auto bundle = fbs::CreateBundle(builder, header.num_shards, header.big_endian,
                                        header.producer, header.min_consumer, bad_consumers);
  const auto producer = builder.CreateString(facts.producer);

  fbs::IndexBuilder index(builder);
  index.add_created_ns(facts.created_ns);
  if (facts.step) index.add_step(*facts.step);
  index.add_source_index(source);
  index.add_strides(strides);
  index.add_strided(strided);
  index.add_opaque_blocks(opaque_blocks);
  index.add_extents(extents);
  index.add_slices(slices);
  index.add_content_hashes(content_hashes);
  index.add_chunk_crc32cs(chunk_crc32cs);
  index.add_dims(dims);
  index.add_names(names);
  index.add_tensors(tensors);
  index.add_opaque_dtypes(opaque_dtypes);
  index.add_shards(shards);
  index.add_tensorflow_index(foreign);
  index.add_bundle(bundle);
  index.add_safetensors_metadata(safetensors_metadata);
  index.add_metadata(metadata);
  index.add_chunk_bytes(facts.chunk_bytes);
  index.add_producer(producer);
  builder.Finish(index.Finish());
}

std::uint64_t features_of(const IndexFacts& facts, const GrowingColumns& columns) {
  std::uint64_t features = 0;
  if (!columns.opaque_blocks.empty()) features |= kBlocksFeature;
  if (!columns.strided.empty()) features |= kStridesFeature;
  if (facts.source_index) features |= kSourceIndexFeature;
  if (columns.any_other_byte_order) features |= kByteOrderFeature;
  const auto any_file = [](const ShardFacts& shard) { return shard.kind == ShardKind::AnyFile; };
  if (std::ranges::any_of(facts.shards, any_file)) features |= kAnyFileFeature;
  return features;
}

// In front of the body, which then is a file, but for the digest.
void push_header(FlatBufferBuilder& builder, std::uint64_t features) {
  std::array<std::byte, kHeaderBytes> header{};
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  store_le(header.data() + kVersionAt, kIndexVersion);
  store_le(header.data() + kHeaderBytesAt, kHeaderBytes);
  store_le(header.data() + kRequiredFeaturesAt, features);
  store_le(header.data() + kBodyBytesAt, std::uint64_t{builder.GetSize()});
  builder.PushBytes(reinterpret_cast<const std::uint8_t*>(header.data()), header.size());
}

Decoded<flatbuffers::DetachedBuffer> without_digest(const IndexFacts& facts) {
  auto amounts = measure(facts);
  if (!amounts) return std::move(amounts).error();
  FlatBufferBuilder builder(amounts->bytes_max);
  const GrowingColumns columns = columns_of(facts, *amounts);
  build(builder, facts, columns, {columns.tensors, columns.names, columns.dims});
  push_header(builder, features_of(facts, columns));
  return builder.Release();
}

std::span<const std::byte> bytes_of(const flatbuffers::DetachedBuffer& buffer) noexcept {
  return std::as_bytes(std::span(buffer.data(), buffer.size()));
}

const fbs::Index& root_of(std::span<const std::byte> file) noexcept {
  return *fbs::GetIndex(file.data() + kHeaderBytes);
}

std::vector<std::byte> with_digest(std::span<const std::byte> file) {
  std::vector<std::byte> bytes(file.begin(), file.end());
  const Digest128 digest = file_digest(bytes);
  std::ranges::copy(digest.bytes, bytes.begin() + kDigestAt);
  return bytes;
}

// What decode refuses is refused here by the same code, run over the bytes that were just made.
// Their structure is this file's own work; only what the facts say can be wrong.
Decoded<void> check_facts(std::span<const std::byte> file, const Columns& columns,
                          ShardNames names) {
  if (auto checked = check_meaning(root_of(file), columns, file, names); !checked)
    return invalid(checked.error().what);
  return {};
}

// What an index in memory lies in.
struct IndexMemory {
  flatbuffers::DetachedBuffer file;
  std::optional<PlainTensors> plain;
};

// How much a file with these columns can have.
std::uint64_t bytes_max(const IndexFacts& facts, const TensorColumns& main) {
  return kHeaderBytes + checkpoint_bytes_max(facts) + main.tensors.size_bytes() +
         main.names.size() + main.dims.size_bytes();
}

Decoded<flatbuffers::DetachedBuffer> without_digest(const IndexFacts& facts,
                                                    const TensorColumns& main) {
  const std::uint64_t most = bytes_max(facts, main);
  if (auto fits = check_size(most); !fits) return std::move(fits).error();
  FlatBufferBuilder builder(most);
  const GrowingColumns none;
  build(builder, facts, none, main);
  push_header(builder, features_of(facts, none));
  return builder.Release();
}

TensorColumns columns_of(std::span<const TensorRecord> records, std::string_view names,
                         std::span<const std::int64_t> dims) noexcept {
  return {as_stored(records),
          {reinterpret_cast<const std::uint8_t*>(names.data()), names.size()},
          dims};
}

Decoded<std::vector<std::byte>> checked(const flatbuffers::DetachedBuffer& built) {
  const std::span<const std::byte> file = bytes_of(built);
  if (auto done = check_facts(file, Columns(root_of(file)), ShardNames::Bare); !done)
    return std::move(done).error();
  return with_digest(file);
}

}  // namespace

Decoded<std::vector<std::byte>> encode_unchecked(const IndexFacts& facts) {
  const auto built = without_digest(facts);
  if (!built) return built.error();
  return with_digest(bytes_of(*built));
}

}  // namespace index

Decoded<BuiltIndex> build_index(const IndexFacts& facts, std::optional<PlainTensors> plain) {
  if (plain) {
    const auto columns = index::columns_of(plain->records(), plain->names(), plain->dims());
    if (auto fits = index::check_size(index::bytes_max(facts, columns)); !fits)
      return std::move(fits).error();
  }
  auto built = index::without_digest(facts);
  if (!built) return std::move(built).error();
  auto kept = std::make_shared<const index::IndexMemory>(
      index::IndexMemory{*std::move(built), std::move(plain)});
  const std::span<const std::byte> file = index::bytes_of(kept->file);
  const fbs::Index& root = index::root_of(file);
  const index::Columns columns =
      kept->plain ? index::Columns(root, *kept->plain) : index::Columns(root);
  if (auto checked = index::check_facts(file, columns, index::ShardNames::Any); !checked)
    return std::move(checked).error();
  const IndexView view = kept->plain ? IndexView(&root, *kept->plain) : IndexView(&root);
  return BuiltIndex{std::move(kept), view};
}

Decoded<std::vector<std::byte>> encode_index(const IndexFacts& facts) {
  const auto built = index::without_digest(facts);
  if (!built) return built.error();
  return index::checked(*built);
}

Decoded<std::vector<std::byte>> encode_index(const IndexFacts& facts, const IndexView& tensors) {
  const auto built = index::without_digest(
      facts, index::columns_of(tensors.records_, tensors.names_, tensors.dims_));
  if (!built) return built.error();
  return index::checked(*built);
}

}  // namespace cairn::format
