#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "format/cairn/index.h"
#include "format/cairn/index_layout.h"
#include "format/le.h"

namespace cairn::format {

namespace index {

namespace {

template <class T>
std::span<const T> span_of(const flatbuffers::Vector<T>* column) noexcept {
  if (column == nullptr || column->size() == 0) return {};
  return {column->data(), column->size()};
}

template <class T>
std::span<const T> span_of(const flatbuffers::Vector<const T*>* column) noexcept {
  if (column == nullptr || column->size() == 0) return {};
  return {column->Get(0), column->size()};
}

}  // namespace

std::span<const fbs::TensorRecord> as_stored(std::span<const TensorRecord> records) noexcept {
  static_assert(sizeof(TensorRecord) == sizeof(fbs::TensorRecord));
  static_assert(alignof(TensorRecord) == alignof(fbs::TensorRecord));
  static_assert(std::is_standard_layout_v<TensorRecord>);
  static_assert(offsetof(TensorRecord, name_end) == 24 && offsetof(TensorRecord, dtype) == 40 &&
                offsetof(TensorRecord, flags) == 45);
  return {reinterpret_cast<const fbs::TensorRecord*>(records.data()), records.size()};
}

std::span<const TensorRecord> as_plain(std::span<const fbs::TensorRecord> records) noexcept {
  return {reinterpret_cast<const TensorRecord*>(records.data()), records.size()};
}

Columns::Columns(const fbs::Index& root) noexcept
    : tensors(span_of(root.tensors())),
      names(as_text(std::as_bytes(span_of(root.names())))),
      dims(span_of(root.dims())),
      chunk_crc32cs(span_of(root.chunk_crc32cs())),
      content_hashes(span_of(root.content_hashes())),
      slices(span_of(root.slices())),
      extents(span_of(root.extents())) {}

Columns::Columns(const fbs::Index& root, const PlainTensors& plain) noexcept : Columns(root) {
  tensors = as_stored(plain.records());
  names = plain.names();
  dims = plain.dims();
}

RareColumns::RareColumns(const fbs::Index& root) noexcept
    : opaque_blocks(span_of(root.opaque_blocks())),
      strided(span_of(root.strided())),
      strides(span_of(root.strides())) {}

Digest128 digest_of(const fbs::Hash128& hash) noexcept {
  Digest128 digest;
  std::memcpy(digest.bytes.data(), hash.bytes()->Data(), digest.bytes.size());
  return digest;
}

FileIdentity identity_of(const fbs::Identity& identity) noexcept {
  return {identity.size_bytes(), identity.mtime_ns(), identity.inode()};
}

}  // namespace index

namespace {

using index::Columns;

const fbs::Index& root_of(const void* root) noexcept {
  return *static_cast<const fbs::Index*>(root);
}

template <class Record>
Span span_of_record(const Record& record) noexcept {
  Span span{record.shard(), record.offset_bytes(), record.size_bytes(), std::nullopt};
  if ((record.flags() & index::kHasCrc32c) != 0) span.crc32c = record.crc32c();
  return span;
}

DType dtype_of_record(const fbs::TensorRecord& record) noexcept {
  return record.dtype() < index::kFirstOpaque ? static_cast<DType>(record.dtype()) : DType::Opaque;
}

std::string_view name_at(std::span<const TensorRecord> records, std::string_view names,
                         std::size_t position) noexcept {
  const std::uint32_t begin = position == 0 ? 0 : records[position - 1].name_end;
  return index::part(names, begin, records[position].name_end);
}

// Of the few tensors that have any.
std::span<const std::int64_t> strides_of(const fbs::Index& root, std::size_t position) noexcept {
  if (root.strided() == nullptr) return {};
  const index::RareColumns rare(root);
  const auto found =
      std::ranges::lower_bound(rare.strided, position, {}, &fbs::StridedRecord::tensor);
  if (found == rare.strided.end() || found->tensor() != position) return {};
  const auto at = static_cast<std::size_t>(found - rare.strided.begin());
  return index::part(rare.strides, index::strides_start_of(rare, at), found->strides_end());
}

// The facts' Extent and the column's record are the same two numbers.
std::span<const Extent> as_extents(std::span<const fbs::ExtentRecord> records) noexcept {
  static_assert(sizeof(Extent) == sizeof(fbs::ExtentRecord));
  static_assert(alignof(Extent) == alignof(fbs::ExtentRecord));
  static_assert(std::is_standard_layout_v<Extent> && offsetof(Extent, length) == 8);
  return {reinterpret_cast<const Extent*>(records.data()), records.size()};
}

std::pair<std::string_view, std::string_view> pair_of(const fbs::KeyValue& entry) noexcept {
  return {index::text_of(*entry.key()), index::text_of(*entry.value())};
}

std::size_t size_of(const auto* vector) noexcept { return vector == nullptr ? 0 : vector->size(); }

KeyValues key_values(const flatbuffers::Vector<flatbuffers::Offset<fbs::KeyValue>>* entries) {
  KeyValues pairs;
  for (std::size_t i = 0; i < size_of(entries); ++i) {
    pairs.emplace_back(pair_of(*entries->Get(static_cast<flatbuffers::uoffset_t>(i))));
  }
  return pairs;
}

TensorFacts tensor_facts(const IndexView& view, std::size_t position) {
  const IndexView::Tensor tensor = view.tensor(position);
  TensorFacts facts;
  facts.name = tensor.name;
  facts.dtype = tensor.dtype;
  facts.opaque_dtype = tensor.opaque_dtype;
  if (tensor.dtype == DType::Opaque) facts.opaque_bits = tensor.element_bits;
  facts.opaque_block = tensor.block;
  facts.other_byte_order = tensor.big_endian != view.big_endian();
  facts.strides.assign(tensor.strides.begin(), tensor.strides.end());
  facts.encoding = tensor.encoding;
  facts.shape.assign(tensor.shape.begin(), tensor.shape.end());
  facts.span = tensor.span;
  facts.chunk_crc32cs.assign(tensor.chunk_crc32cs.begin(), tensor.chunk_crc32cs.end());
  facts.content_hash = tensor.content_hash;
  for (std::uint32_t i = tensor.slices_begin; i != tensor.slices_end; ++i) {
    const IndexView::Slice slice = view.slice(i);
    facts.slices.push_back({{slice.extents.begin(), slice.extents.end()}, slice.span});
  }
  return facts;
}

}  // namespace

IndexView::IndexView(const void* root) noexcept : root_(root) {
  const Columns columns(root_of(root));
  records_ = index::as_plain(columns.tensors);
  names_ = columns.names;
  dims_ = columns.dims;
}

std::optional<std::int64_t> IndexView::step() const noexcept { return root_of(root_).step(); }

std::int64_t IndexView::created_ns() const noexcept { return root_of(root_).created_ns(); }

std::string_view IndexView::producer() const noexcept {
  return index::text_of(*root_of(root_).producer());
}

std::uint32_t IndexView::chunk_bytes() const noexcept { return root_of(root_).chunk_bytes(); }

std::size_t IndexView::metadata_count() const noexcept {
  return size_of(root_of(root_).metadata());
}

std::pair<std::string_view, std::string_view> IndexView::metadata(
    std::size_t position) const noexcept {
  const auto at = static_cast<flatbuffers::uoffset_t>(position);
  return pair_of(*root_of(root_).metadata()->Get(at));
}

std::size_t IndexView::safetensors_metadata_count() const noexcept {
  return size_of(root_of(root_).safetensors_metadata());
}

std::pair<std::string_view, std::string_view> IndexView::safetensors_metadata(
    std::size_t position) const noexcept {
  const auto at = static_cast<flatbuffers::uoffset_t>(position);
  return pair_of(*root_of(root_).safetensors_metadata()->Get(at));
}

std::optional<std::string_view> IndexView::metadata(std::string_view key) const noexcept {
  std::size_t begin = 0;
  std::size_t end = metadata_count();
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    const auto [found, value] = metadata(middle);
    if (found == key) return value;
    (found < key ? begin : end) = found < key ? middle + 1 : middle;
  }
  return std::nullopt;
}

BundleHeader IndexView::bundle() const {
  const fbs::Bundle& bundle = *root_of(root_).bundle();
  BundleHeader header{
      bundle.num_shards(), bundle.big_endian(), bundle.producer(), bundle.min_consumer(), {}};
  if (bundle.bad_consumers() != nullptr) {
    header.bad_consumers.assign(bundle.bad_consumers()->begin(), bundle.bad_consumers()->end());
  }
  return header;
}

bool IndexView::big_endian() const noexcept { return root_of(root_).bundle()->big_endian(); }

TensorFlowIndexFacts IndexView::tensorflow_index() const noexcept {
  const fbs::TensorFlowIndex* found = root_of(root_).tensorflow_index();
  if (found == nullptr) return {};
  return {true, index::identity_of(*found->identity()), index::digest_of(*found->digest())};
}

std::optional<SourceIndexFacts> IndexView::source_index() const {
  const fbs::SourceIndex* found = root_of(root_).source_index();
  if (found == nullptr) return std::nullopt;
  SourceIndexFacts facts{std::string(index::text_of(*found->name())),
                         index::identity_of(*found->identity()),
                         index::digest_of(*found->digest()),
                         {}};
  for (const fbs::RangeRecord& range : index::span_of(found->ranges()))
    facts.ranges.push_back({range.offset_bytes(), range.size_bytes()});
  return facts;
}

std::size_t IndexView::shard_count() const noexcept { return size_of(root_of(root_).shards()); }

IndexView::Shard IndexView::shard(std::size_t position) const noexcept {
  const auto at = static_cast<flatbuffers::uoffset_t>(position);
  const fbs::Shard& shard = *root_of(root_).shards()->Get(at);
  return {index::text_of(*shard.name()),
          static_cast<ShardKind>(shard.kind()),
          index::identity_of(*shard.identity()),
          shard.head_bytes(),
          shard.head_crc32c(),
          shard.live_bytes()};
}

std::size_t IndexView::tensor_count() const noexcept { return records_.size(); }

std::string_view IndexView::tensor_name(std::size_t position) const noexcept {
  return name_at(records_, names_, position);
}

DType IndexView::tensor_dtype(std::size_t position) const noexcept {
  return dtype_of_record(index::as_stored(records_)[position]);
}

std::span<const std::int64_t> IndexView::tensor_shape(std::size_t position) const noexcept {
  const std::uint32_t begin = position == 0 ? 0 : records_[position - 1].dims_end;
  return index::part(dims_, begin, records_[position].dims_end);
}

std::uint64_t IndexView::tensor_size_bytes(std::size_t position) const noexcept {
  const std::span<const fbs::TensorRecord> records = index::as_stored(records_);
  const fbs::TensorRecord& record = records[position];
  const bool whole = index::starts_of(records, position).slices == record.slices_end();
  return whole ? record.size_bytes() : tensor(position).size_bytes;
}

IndexView::TensorColumns IndexView::tensor_columns() const noexcept {
  static_assert(sizeof(Digest128) == sizeof(fbs::Hash128) && alignof(Digest128) == 1);
  static_assert(TensorColumns::kHasContentHash == index::kHasContentHash);
  const auto hashes = index::span_of(root_of(root_).content_hashes());
  return {
      records_, names_, dims_, {reinterpret_cast<const Digest128*>(hashes.data()), hashes.size()}};
}

void IndexView::prefetch_tensor(std::size_t position) const noexcept {
  const TensorRecord* const record = &records_[position];
  __builtin_prefetch(record);
  __builtin_prefetch(reinterpret_cast<const char*>(record + 1) - 1);
}

// Of the columns that few tensors have anything in, none is looked for in vain: many tensors are
// asked for one after the other.
IndexView::Tensor IndexView::tensor(std::size_t position) const noexcept {
  const fbs::Index& root = root_of(root_);
  const std::span<const fbs::TensorRecord> records = index::as_stored(records_);
  const fbs::TensorRecord& record = records[position];
  const index::Starts starts = index::starts_of(records, position);
  Tensor tensor;
  tensor.name = index::part(names_, starts.name, record.name_end());
  tensor.dtype = dtype_of_record(record);
  if (tensor.dtype == DType::Opaque) {
    const std::uint32_t opaque = record.dtype() - index::kFirstOpaque;
    tensor.opaque_dtype = index::text_of(*root.opaque_dtypes()->Get(opaque));
    if (const auto blocks = index::span_of(root.opaque_blocks()); !blocks.empty()) {
      const fbs::BlockRecord& block = blocks[opaque];
      tensor.block = {block.elements(), block.bytes()};
    }
  }
  tensor.big_endian = big_endian() != ((record.flags() & index::kOtherByteOrder) != 0);
  tensor.strides = strides_of(root, position);
  tensor.element_bits = record.bits();
  tensor.encoding = static_cast<Encoding>(record.encoding());
  tensor.shape = index::part(dims_, starts.dims, record.dims_end());
  tensor.span = span_of_record(record);
  if (starts.chunks != record.chunks_end()) {
    tensor.chunk_crc32cs =
        index::part(index::span_of(root.chunk_crc32cs()), starts.chunks, record.chunks_end());
  }
  tensor.chunks_begin = starts.chunks;
  if ((record.flags() & index::kHasContentHash) != 0) {
    tensor.content_hash = index::digest_of(index::span_of(root.content_hashes())[position]);
  }
  tensor.slices_begin = starts.slices;
  tensor.slices_end = record.slices_end();
  tensor.size_bytes = record.size_bytes();
  if (!tensor.partitioned()) return tensor;
  for (const auto& slice :
       index::part(index::span_of(root.slices()), starts.slices, record.slices_end())) {
    tensor.size_bytes += slice.size_bytes();  // cannot overflow: decode added them up
  }
  return tensor;
}

std::optional<Span> IndexView::plain_span(std::size_t position) const noexcept {
  const std::span<const fbs::TensorRecord> records = index::as_stored(records_);
  const fbs::TensorRecord& record = records[position];
  const bool is_plain = static_cast<Encoding>(record.encoding()) == Encoding::Raw &&
                        record.bits() != 0 && record.bits() % 8 == 0 &&
                        big_endian() == ((record.flags() & index::kOtherByteOrder) != 0) &&
                        index::starts_of(records, position).slices == record.slices_end() &&
                        strides_of(root_of(root_), position).empty();
  return is_plain ? std::optional(span_of_record(record)) : std::nullopt;
}

IndexView::Slice IndexView::slice(std::uint32_t position) const noexcept {
  const Columns columns(root_of(root_));
  const fbs::SliceRecord& record = columns.slices[position];
  const auto extents = index::part(columns.extents, index::extents_start_of(columns, position),
                                   record.extents_end());
  return {as_extents(extents), span_of_record(record)};
}

std::size_t IndexView::slice_count() const noexcept {
  return index::span_of(root_of(root_).slices()).size();
}

std::size_t IndexView::chunk_count() const noexcept {
  return index::span_of(root_of(root_).chunk_crc32cs()).size();
}

std::size_t IndexView::lower_bound(std::string_view name) const noexcept {
  std::size_t begin = 0;
  std::size_t end = tensor_count();
  while (begin < end) {
    const std::size_t middle = begin + (end - begin) / 2;
    if (name_at(records_, names_, middle) < name) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

std::optional<std::size_t> IndexView::find(std::string_view name) const noexcept {
  const std::size_t position = lower_bound(name);
  if (position == tensor_count() || tensor_name(position) != name) return std::nullopt;
  return position;
}

IndexFacts IndexView::facts_beside_tensors() const {
  IndexFacts facts;
  facts.step = step();
  facts.created_ns = created_ns();
  facts.producer = producer();
  facts.chunk_bytes = chunk_bytes();
  facts.metadata = key_values(root_of(root_).metadata());
  facts.safetensors_metadata = key_values(root_of(root_).safetensors_metadata());
  facts.bundle = bundle();
  facts.tensorflow_index = tensorflow_index();
  facts.source_index = source_index();
  for (std::size_t i = 0; i < shard_count(); ++i) {
    const Shard found = shard(i);
    facts.shards.push_back({std::string(found.name), found.kind, found.identity, found.head_bytes,
                            found.head_crc32c, found.live_bytes});
  }
  return facts;
}

bool IndexView::is_of_plain_tensors() const noexcept { return root_of(root_).tensors() == nullptr; }

IndexFacts IndexView::facts() const {
  IndexFacts facts = facts_beside_tensors();
  facts.tensors.reserve(tensor_count());
  for (std::size_t i = 0; i < tensor_count(); ++i) facts.tensors.push_back(tensor_facts(*this, i));
  return facts;
}

}  // namespace cairn::format
