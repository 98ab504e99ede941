// What a Cairn index must mean. FlatBuffers' verifier has proved that every offset stays inside;
// here the numbers are compared with each other. Encoding runs the same check over what it made, so
// that there is one set of rules.
//
// This runs over every tensor each time a checkpoint is opened: 100,000 tensors must not cost more
// than a millisecond. So a check gives true or false, and only the one that fails writes a
// sentence; and of plain tensors, which nearly all are, one loop asks all rules (pass_plain).
// A unit test lets both ways judge the same damaged tensors, and they must agree.

#include <algorithm>
#include <bit>
#include <string>

#include "format/cairn/index_layout.h"
#include "format/checked.h"
#include "format/dtype.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format::index {

namespace {

using KeyValueVector = flatbuffers::Vector<flatbuffers::Offset<fbs::KeyValue>>;

// Whether begin <= end <= size; begin <= size is known.
bool between(std::uint64_t begin, std::uint64_t end, std::uint64_t size) noexcept {
  return end - begin <= size - begin;  // an end in front of its begin wraps to more than any size
}

// Whether a < b, as memcmp decides: names of the usual lengths would notice the call.
bool below(std::string_view a, std::string_view b) noexcept {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  const std::size_t common = std::min(a.size(), b.size());
  if (common < kWord) return a < b;
  for (std::size_t at = 0; at < common; at += kWord) {
    at = std::min(at, common - kWord);  // the last word goes back over what is equal
    const auto left = load_le<std::uint64_t>(as_bytes(a).data() + at);
    const auto right = load_le<std::uint64_t>(as_bytes(b).data() + at);
    if (left != right) return __builtin_bswap64(left) < __builtin_bswap64(right);
  }
  return a.size() < b.size();
}

// One tensor while it is checked.
struct Subject {
  std::size_t position;
  const fbs::TensorRecord& record;
  std::string_view name;
  std::span<const std::int64_t> shape;
  std::uint64_t chunk_sums;
  std::span<const fbs::SliceRecord> slices;
};

class Check {
 public:
  Check(const fbs::Index& root, const Columns& columns, std::span<const std::byte> file,
        ShardNames names) noexcept
      : root_(root), columns_(columns), rare_(root), file_(file), names_(names) {}

  Decoded<void> run() {
    if (root_.source_index() != nullptr) features_ |= kSourceIndexFeature;
    if (!rare_.strided.empty()) features_ |= kStridesFeature;
    if (checkpoint() && shards() && opaque_dtypes() && opaque_blocks() &&
        passes(check_source_index(root_, file_)) && tensors() &&
        passes(check_strides(columns_, rare_, file_)) && columns_end() && features()) {
      return {};
    }
    return std::move(reason_);
  }

 private:
  bool passes(Decoded<void> checked) {
    if (!checked) reason_ = std::move(checked).error();
    return checked.has_value();
  }
  bool checkpoint();
  bool own_text(const flatbuffers::String& text);
  bool own_texts(const KeyValueVector* entries);
  bool ascending_keys(const KeyValueVector* entries);
  bool unique_keys(const KeyValueVector* entries);
  bool shards();
  bool shard(const fbs::Shard& shard);
  bool shard_names_unique();
  bool opaque_dtypes();
  bool opaque_blocks();
  bool features();

  bool tensors();
  std::size_t pass_plain(std::size_t position);
  bool any_tensor(std::size_t position);
  Subject subject_of(std::size_t position) const;
  bool ends_ascend(std::size_t position, const Starts& starts);
  bool tensor_name(const Subject& subject, std::string_view before);
  bool tensor(const Subject& subject);
  bool flags(const Subject& subject);
  bool dtype(const Subject& subject);
  bool whole(const Subject& subject, std::uint64_t count);
  bool partitioned(const Subject& subject);
  bool slice(const Subject& subject, const fbs::SliceRecord& slice);
  std::uint64_t chunk_sums_due(std::uint64_t size_bytes) const;
  bool chunk_sums(const Subject& subject);
  bool columns_end();

  bool is_strided(std::size_t position) const {
    return std::ranges::binary_search(rare_.strided, position, {}, &fbs::StridedRecord::tensor);
  }
  Block block_of(const fbs::TensorRecord& record) const {
    if (record.dtype() < kFirstOpaque || rare_.opaque_blocks.empty()) return {};
    const fbs::BlockRecord& block = rare_.opaque_blocks[record.dtype() - kFirstOpaque];
    return {block.elements(), block.bytes()};
  }

  template <class Record>
  bool span_inside(const Subject& subject, const Record& record);
  bool size_agrees(const Subject& subject, std::uint64_t count, std::uint64_t size_bytes);

  // Says why not. `where` is the first byte of what is wrong.
  template <class... Parts>
  [[gnu::cold, gnu::noinline]] bool refuse(const void* where, const Parts&... parts) {
    const auto offset = static_cast<const std::byte*>(where) - file_.data();
    reason_ = corrupt(static_cast<std::uint64_t>(offset), sentence(parts...));
    return false;
  }
  template <class... Parts>
  [[gnu::cold, gnu::noinline]] bool refuse(const Subject& subject, const Parts&... parts) {
    return refuse(&subject.record, "tensor ", format::quoted(subject.name), ": ", parts...);
  }

  struct Bounds {
    std::uint64_t head_bytes;
    std::uint64_t size_bytes;
  };

  const fbs::Index& root_;
  const Columns columns_;
  const RareColumns rare_;
  const std::span<const std::byte> file_;
  const ShardNames names_;
  std::vector<Bounds> shard_bounds_;
  std::vector<bool> opaque_used_;
  std::uint64_t text_bytes_ = 0;
  bool any_content_hash_ = false;
  std::uint32_t extents_end_ = 0;  // of the slice looked at last
  std::uint64_t features_ = 0;     // that were met
  DecodeError reason_;
};

// ---- The checkpoint ----------------------------------------------------------------------------

bool Check::checkpoint() {
  const std::uint32_t chunk = root_.chunk_bytes();
  if (!std::has_single_bit(chunk) || chunk < limits::kChunkBytesMin) {
    return refuse(&root_, "chunks of ", chunk,
                  " bytes: the size must be a power of two and at least ", limits::kChunkBytesMin);
  }
  const fbs::Bundle& bundle = *root_.bundle();
  if (bundle.num_shards() < 0) {
    return refuse(&bundle, "the bundle's header says that there are ", bundle.num_shards(),
                  " shards");
  }
  return own_texts(root_.metadata()) && own_texts(root_.safetensors_metadata()) &&
         ascending_keys(root_.metadata()) && unique_keys(root_.safetensors_metadata());
}

// FlatBuffers allows that many offsets lead to one string. Comparing or copying what a small file
// claims in that way could take hours and all memory, so texts may not be longer than the file.
bool Check::own_text(const flatbuffers::String& text) {
  text_bytes_ += text.size();  // stays far below 2^64, since it stops above 2^31
  return text_bytes_ <= file_.size() || refuse(&text, "texts share bytes");
}

bool Check::own_texts(const KeyValueVector* entries) {
  if (entries == nullptr) return true;
  return std::ranges::all_of(*entries, [this](const fbs::KeyValue* entry) {
    return own_text(*entry->key()) && own_text(*entry->value());
  });
}

bool Check::ascending_keys(const KeyValueVector* entries) {
  if (entries == nullptr) return true;
  const flatbuffers::String* before = nullptr;
  for (const fbs::KeyValue* entry : *entries) {
    if (before != nullptr && text_of(*before) >= text_of(*entry->key())) {
      return refuse(entry, "metadata ", format::quoted(text_of(*entry->key())), " comes after ",
                    format::quoted(text_of(*before)), ": keys must be in ascending order");
    }
    before = entry->key();
  }
  return true;
}

bool Check::unique_keys(const KeyValueVector* entries) {
  if (entries == nullptr) return true;
  std::vector<std::string_view> keys;
  for (const fbs::KeyValue* entry : *entries) keys.push_back(text_of(*entry->key()));
  std::ranges::sort(keys);
  const auto twice = std::ranges::adjacent_find(keys);
  if (twice == keys.end()) return true;
  return refuse(entries, "safetensors metadata has the key ", format::quoted(*twice), " twice");
}

// ---- Shards ------------------------------------------------------------------------------------

bool Check::shards() {
  if (root_.shards() == nullptr) return true;
  if (root_.shards()->size() > limits::kShardsMax) {
    return refuse(root_.shards(), root_.shards()->size(), " shards, more than the limit of ",
                  limits::kShardsMax);
  }
  for (const fbs::Shard* each : *root_.shards()) {
    if (!shard(*each)) return false;
  }
  return shard_names_unique();
}

bool Check::shard(const fbs::Shard& shard) {
  const std::string_view name = text_of(*shard.name());
  if (names_ == ShardNames::Bare && !is_bare(name))
    return refuse(&shard, "shard ", format::quoted(name),
                  ": the name must not contain a directory");
  if (shard.kind() > static_cast<std::uint8_t>(ShardKind::AnyFile)) {
    return refuse(&shard, "shard ", format::quoted(name), ": unknown kind ", shard.kind());
  }
  const std::uint64_t size = shard.identity()->size_bytes();
  if (shard.head_bytes() > size || shard.live_bytes() > size - shard.head_bytes()) {
    return refuse(&shard, "shard ", format::quoted(name), ": its size is ", size,
                  " bytes, but it should have a head of ", shard.head_bytes(), " bytes and ",
                  shard.live_bytes(), " live bytes");
  }
  if (shard.head_bytes() == 0 && shard.head_crc32c() != 0) {
    return refuse(&shard, "shard ", format::quoted(name),
                  ": it has a checksum of a head, but no head");
  }
  if (shard.kind() == static_cast<std::uint8_t>(ShardKind::AnyFile)) features_ |= kAnyFileFeature;
  shard_bounds_.push_back({shard.head_bytes(), size});
  return true;
}

bool Check::shard_names_unique() {
  std::vector<std::string_view> names;
  for (const fbs::Shard* each : *root_.shards()) names.push_back(text_of(*each->name()));
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice == names.end()) return true;
  return refuse(root_.shards(), "shard ", format::quoted(*twice), " is listed twice");
}

bool Check::opaque_dtypes() {
  if (root_.opaque_dtypes() == nullptr) return true;
  const auto& names = *root_.opaque_dtypes();
  if (names.size() > kOpaqueDtypesMax) {
    return refuse(&names, names.size(), " opaque dtypes, more than the limit of ",
                  kOpaqueDtypesMax);
  }
  std::string_view before;  // empty, and so below every name that is allowed
  for (const flatbuffers::String* name : names) {
    if (!own_text(*name)) return false;
    if (text_of(*name) <= before) {
      return refuse(name, "opaque dtype ", format::quoted(text_of(*name)), " comes after ",
                    format::quoted(before), ": names must be in ascending order");
    }
    before = text_of(*name);
  }
  opaque_used_.resize(names.size());
  return true;
}

bool Check::opaque_blocks() {
  if (rare_.opaque_blocks.empty()) return true;
  features_ |= kBlocksFeature;
  if (rare_.opaque_blocks.size() != opaque_used_.size()) {
    return refuse(rare_.opaque_blocks.data(), rare_.opaque_blocks.size(), " blocks for ",
                  opaque_used_.size(), " opaque dtypes");
  }
  for (const fbs::BlockRecord& block : rare_.opaque_blocks) {
    if ((block.elements() == 0) != (block.bytes() == 0))
      return refuse(&block, "a block must have elements and bytes, but one has ", block.elements(),
                    " elements and ", block.bytes(), " bytes");
  }
  return true;
}

// What a reader of version 1 without a feature would misread is announced, so that it refuses.
bool Check::features() {
  const auto announced = load_le<std::uint64_t>(file_.data() + kRequiredFeaturesAt);
  return announced == features_ ||
         refuse(file_.data() + kRequiredFeaturesAt, "the index announces the features ", announced,
                ", but it uses ", features_);
}

// ---- Tensors -----------------------------------------------------------------------------------

bool Check::tensors() {
  if (!columns_.content_hashes.empty() &&
      columns_.content_hashes.size() != columns_.tensors.size()) {
    return refuse(columns_.content_hashes.data(), columns_.content_hashes.size(),
                  " content hashes for ", columns_.tensors.size(), " tensors");
  }
  for (std::size_t position = pass_plain(0); position < columns_.tensors.size();
       position = pass_plain(position + 1)) {
    if (!any_tensor(position)) return false;
  }
  return true;
}

// Nearly every tensor is a plain one: raw elements of a numbered dtype, in one place. Of such ones
// all rules are asked here, in one loop that keeps its numbers in registers: it takes two thirds of
// the time. What it returns is the first tensor that it does not pass. That may be a good one, so
// any_tensor() decides, rule by rule; doubt costs only time, and therefore whatever is not plain is
// doubted.
std::size_t Check::pass_plain(std::size_t position) {
  const std::span<const fbs::TensorRecord> records = columns_.tensors;
  const std::string_view names = columns_.names;
  const std::span<const std::int64_t> dims = columns_.dims;
  const std::span<const Bounds> shards = shard_bounds_;
  const std::uint32_t other_flags = columns_.content_hashes.empty() ? 0 : kHasContentHash;
  const std::size_t first = position;
  Starts starts = starts_of(records, position);
  std::string_view before = position == 0
                                ? std::string_view()
                                : part(names, starts_of(records, position - 1).name, starts.name);
  for (; position < records.size(); ++position) {
    const fbs::TensorRecord& record = records[position];
    if (!between(starts.name, record.name_end(), names.size()) ||
        !between(starts.dims, record.dims_end(), dims.size()) ||
        !between(starts.chunks, record.chunks_end(), columns_.chunk_crc32cs.size()) ||
        record.slices_end() != starts.slices) {
      break;
    }
    const std::string_view name = part(names, starts.name, record.name_end());
    if (name.size() > limits::kNameBytesMax || !below(before, name)) break;
    const std::uint32_t bytes = record.dtype() < kFirstOpaque ? kRawBytes[record.dtype()] : 0;
    if (bytes == 0 || record.bits() != 8 * bytes || record.encoding() != 0 || record.zero() != 0 ||
        (record.flags() & ~kHasCrc32c) != other_flags ||
        ((record.flags() & kHasCrc32c) == 0 && record.crc32c() != 0)) {
      break;
    }
    const auto shape = part(dims, starts.dims, record.dims_end());
    const auto count = element_count(shape);
    if (!count || shape.size() > limits::kRankMax) break;
    if (record.shard() >= shards.size()) break;
    const Bounds bounds = shards[record.shard()];
    if (record.offset_bytes() < bounds.head_bytes ||
        !inside(record.offset_bytes(), record.size_bytes(), bounds.size_bytes) ||
        checked_mul(*count, bytes) != record.size_bytes()) {
      break;
    }
    const std::uint64_t chunk_sums = record.chunks_end() - starts.chunks;
    if (chunk_sums != 0 && chunk_sums != chunk_sums_due(record.size_bytes())) break;
    before = name;
    starts = ends_of(record);
  }
  any_content_hash_ |= other_flags != 0 && position != first;
  return position;
}

// Of one whose ends are known to ascend.
Subject Check::subject_of(std::size_t position) const {
  const Starts starts = starts_of(columns_.tensors, position);
  const fbs::TensorRecord& record = columns_.tensors[position];
  return {position,
          record,
          part(columns_.names, starts.name, record.name_end()),
          part(columns_.dims, starts.dims, record.dims_end()),
          record.chunks_end() - starts.chunks,
          part(columns_.slices, starts.slices, record.slices_end())};
}

bool Check::any_tensor(std::size_t position) {
  const Starts starts = starts_of(columns_.tensors, position);
  if (!ends_ascend(position, starts)) return false;
  const Subject subject = subject_of(position);
  const std::string_view before =
      position == 0
          ? std::string_view()
          : part(columns_.names, starts_of(columns_.tensors, position - 1).name, starts.name);
  return tensor_name(subject, before) && tensor(subject);
}

// From here on a tensor's parts may be looked at.
bool Check::ends_ascend(std::size_t position, const Starts& starts) {
  const fbs::TensorRecord& record = columns_.tensors[position];
  const bool ascend =
      starts.name <= record.name_end() && record.name_end() <= columns_.names.size() &&
      starts.dims <= record.dims_end() && record.dims_end() <= columns_.dims.size() &&
      starts.chunks <= record.chunks_end() &&
      record.chunks_end() <= columns_.chunk_crc32cs.size() &&
      starts.slices <= record.slices_end() && record.slices_end() <= columns_.slices.size();
  return ascend || refuse(&record, "tensor number ", position,
                          ": its parts end before they start, or after the end of their columns");
}

bool Check::tensor_name(const Subject& subject, std::string_view before) {
  if (subject.name.size() > limits::kNameBytesMax) {
    return refuse(subject, "its name has ", subject.name.size(), " bytes, more than the limit of ",
                  limits::kNameBytesMax);
  }
  // string_view compares as memcmp does: unsigned bytes, NUL like any other. safetensors allows the
  // empty name, which only the first tensor can have.
  return subject.position == 0 || before < subject.name ||
         refuse(subject, "it comes after ", format::quoted(before),
                ": names must be in ascending order");
}

bool Check::tensor(const Subject& subject) {
  if (!flags(subject) || !dtype(subject)) return false;
  if (subject.shape.size() > limits::kRankMax) {
    return refuse(subject, "its rank is ", subject.shape.size(), ", more than the limit of ",
                  limits::kRankMax);
  }
  const auto count = element_count(subject.shape);
  if (!count) return refuse(subject, "its shape is too large or has a negative dimension");
  const bool fits = subject.slices.empty() ? whole(subject, *count) : partitioned(subject);
  return fits && chunk_sums(subject);
}

bool Check::flags(const Subject& subject) {
  const fbs::TensorRecord& record = subject.record;
  if ((record.flags() & ~(kHasCrc32c | kHasContentHash | kOtherByteOrder)) != 0 ||
      record.zero() != 0) {
    return refuse(subject, "it has unknown flags (", record.flags(),
                  "), or its reserved bytes are ", record.zero(), " instead of 0");
  }
  if ((record.flags() & kHasCrc32c) == 0 && record.crc32c() != 0) {
    return refuse(subject, "it has a checksum, but no flag for it");
  }
  if ((record.flags() & kHasContentHash) != 0) {
    any_content_hash_ = true;
    return !columns_.content_hashes.empty() || refuse(subject, "its content hash is missing");
  }
  return columns_.content_hashes.empty() ||
         digest_of(columns_.content_hashes[subject.position]) == Digest128{} ||
         refuse(subject, "it has a content hash, but no flag for it");
}

bool Check::dtype(const Subject& subject) {
  const fbs::TensorRecord& record = subject.record;
  if (record.dtype() >= kFirstOpaque) {
    const std::size_t opaque = record.dtype() - kFirstOpaque;
    const bool in_blocks =
        opaque < rare_.opaque_blocks.size() && rare_.opaque_blocks[opaque].elements() != 0;
    if (opaque >= opaque_used_.size() || (record.bits() == 0) != in_blocks ||
        record.encoding() != 0 || (record.flags() & kOtherByteOrder) != 0) {
      return refuse(subject, "opaque dtype ", opaque, " of ", opaque_used_.size(), " with ",
                    record.bits(), " bits, encoding ", record.encoding(), " and flags ",
                    record.flags());
    }
    opaque_used_[opaque] = true;
    return true;
  }
  const auto dtype = static_cast<DType>(record.dtype());
  if (!storable(dtype)) return refuse(subject, "dtype ", record.dtype(), " cannot be stored");
  const Encoding encoding = encoding_of(dtype);
  if ((record.flags() & kOtherByteOrder) != 0 &&
      (encoding != Encoding::Raw || element_bytes(dtype) == 1)) {
    return refuse(subject, "the dtype ", name(dtype), " has no byte order");
  }
  if ((record.flags() & kOtherByteOrder) != 0) features_ |= kByteOrderFeature;
  return (record.bits() == 8 * element_bytes(dtype) &&
          record.encoding() == static_cast<std::uint8_t>(encoding)) ||
         refuse(subject, "a ", name(dtype), " with ", record.bits(), " bits and encoding ",
                record.encoding());
}

template <class Record>
bool Check::span_inside(const Subject& subject, const Record& record) {
  if (record.shard() >= shard_bounds_.size()) {
    return refuse(subject, "shard ", record.shard(), " of ", shard_bounds_.size());
  }
  const Bounds& bounds = shard_bounds_[record.shard()];
  return (record.offset_bytes() >= bounds.head_bytes &&
          inside(record.offset_bytes(), record.size_bytes(), bounds.size_bytes)) ||
         refuse(subject, record.size_bytes(), " bytes at byte ", record.offset_bytes(),
                " are not inside shard ", record.shard(), ", which has a head of ",
                bounds.head_bytes, " bytes and ends at byte ", bounds.size_bytes);
}

// Whether `size_bytes` is what `count` elements take.
bool Check::size_agrees(const Subject& subject, std::uint64_t count, std::uint64_t size_bytes) {
  if (subject.record.encoding() != 0) {  // at least one byte of length for each element
    return size_bytes >= count ||
           refuse(subject, size_bytes, " bytes are too few for ", count, " elements");
  }
  if (is_strided(subject.position)) return true;  // strided() compares
  if (const Block block = block_of(subject.record); block.elements != 0) {
    const auto bytes = checked_mul(count / block.elements, block.bytes);
    return (count % block.elements == 0 && bytes == size_bytes) ||
           refuse(subject, size_bytes, " bytes do not hold ", count, " elements in blocks of ",
                  block.elements, " elements and ", block.bytes, " bytes");
  }
  const auto bits = checked_mul(count, subject.record.bits());
  return (bits && size_bytes == *bits / 8 + (*bits % 8 != 0 ? 1 : 0)) ||
         refuse(subject, size_bytes, " bytes do not hold ", count, " elements of ",
                subject.record.bits(), " bits");
}

bool Check::whole(const Subject& subject, std::uint64_t count) {
  return span_inside(subject, subject.record) &&
         size_agrees(subject, count, subject.record.size_bytes());
}

bool Check::partitioned(const Subject& subject) {
  const fbs::TensorRecord& record = subject.record;
  if (record.offset_bytes() != 0 || record.size_bytes() != 0 || record.shard() != 0 ||
      (record.flags() & kHasCrc32c) != 0) {
    return refuse(subject, "it has slices and also bytes of its own");
  }
  std::uint64_t size = 0;
  for (const fbs::SliceRecord& each : subject.slices) {
    if (!slice(subject, each)) return false;
    const auto sum = checked_add(size, each.size_bytes());
    if (!sum) return refuse(subject, "its slices have more than 2^64 bytes in total");
    size = *sum;
  }
  return true;
}

bool Check::slice(const Subject& subject, const fbs::SliceRecord& slice) {
  const std::uint32_t begin = extents_end_;
  extents_end_ = slice.extents_end();
  if (extents_end_ < begin || extents_end_ > columns_.extents.size() ||
      extents_end_ - begin != subject.shape.size()) {
    return refuse(subject, "the rank of a slice is not the rank of the tensor");
  }
  if ((slice.flags() & ~kHasCrc32c) != 0 || (slice.flags() == 0 && slice.crc32c() != 0)) {
    return refuse(subject, "a slice has unknown flags (", slice.flags(),
                  "), or a checksum but no flag for it");
  }
  std::uint64_t count = 1;  // at most the tensor's, so it does not overflow; 0 in an empty one
  const auto extents = part(columns_.extents, begin, extents_end_);
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const std::int64_t start = extents[i].start();
    const std::int64_t length = extents[i].length();
    const std::int64_t dimension = subject.shape[i];
    const bool all = start == 0 && length == Extent::kWhole;
    if (!all && (start < 0 || length <= 0 || start > dimension || length > dimension - start)) {
      return refuse(subject, "a slice has ", length, " elements from element ", start,
                    " in a dimension of ", dimension, " elements");
    }
    count *= static_cast<std::uint64_t>(all ? dimension : length);
  }
  return span_inside(subject, slice) && size_agrees(subject, count, slice.size_bytes());
}

// Of a tensor that has any; one that is no longer than a chunk has none.
std::uint64_t Check::chunk_sums_due(std::uint64_t size_bytes) const {
  const std::uint64_t chunk = root_.chunk_bytes();
  return size_bytes > chunk ? (size_bytes - 1) / chunk + 1 : 0;
}

bool Check::chunk_sums(const Subject& subject) {
  if (subject.chunk_sums == 0) return true;
  const std::uint64_t size = subject.record.size_bytes();
  const std::uint64_t due = chunk_sums_due(size);
  return subject.chunk_sums == due || refuse(subject, size, " bytes need ", due,
                                             " chunk sums, but there are ", subject.chunk_sums);
}

// Every element of every column has an owner.
bool Check::columns_end() {
  const Starts ends = starts_of(columns_.tensors, columns_.tensors.size());
  if (ends.name != columns_.names.size() || ends.dims != columns_.dims.size() ||
      ends.chunks != columns_.chunk_crc32cs.size() || ends.slices != columns_.slices.size() ||
      extents_end_ != columns_.extents.size()) {
    return refuse(&root_, "a column of the index is longer than its tensors need");
  }
  if (!columns_.content_hashes.empty() && !any_content_hash_) {
    return refuse(columns_.content_hashes.data(),
                  "there are content hashes that belong to no tensor");
  }
  const auto unused = std::ranges::find(opaque_used_, false);
  return unused == opaque_used_.end() ||
         refuse(root_.opaque_dtypes(), "opaque dtype ", unused - opaque_used_.begin(),
                " belongs to no tensor");
}

}  // namespace

Decoded<void> check_meaning(const fbs::Index& root, const Columns& columns,
                            std::span<const std::byte> file, ShardNames names) {
  return Check(root, columns, file, names).run();
}

}  // namespace cairn::format::index
