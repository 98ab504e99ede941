// A V1 file says everything twice: the first record lists each slice of each tensor, and the key
// that each slice is stored under follows from its name and its extents. So the keys that a table
// must have are known before its second record is read, and both are sorted: one pass compares them
// and finds whatever is missing, foreign or double.

#include "format/tensorflow/v1.h"

#include <algorithm>
#include <utility>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/wire.h"

namespace cairn::format::tensorflow {

namespace {

constexpr std::int32_t kVersion = 1;  // of the V1 files that this reader knows
constexpr char kMetaTag =
    (1 << 3) | 2;  // a message in field 1; a bundle's header has a number there

// TensorFlow's rules for versions.
Decoded<void> check_version(const BundleHeader& header) {
  if (header.producer < 0)
    return unsupported(0, sentence("the V1 file has the version ", header.producer));
  if (header.min_consumer > kVersion) {
    return unsupported(0, sentence("the V1 file needs readers of version ", header.min_consumer,
                                   " or later; this one has version ", kVersion));
  }
  if (std::ranges::find(header.bad_consumers, kVersion) != header.bad_consumers.end())
    return unsupported(0, sentence("the V1 file forbids readers of version ", kVersion));
  return {};
}

// How many elements of each dimension a slice has; nothing: it does not fit into the shape.
std::optional<std::vector<std::int64_t>> shape_of(std::span<const Extent> extents,
                                                  std::span<const std::int64_t> shape) {
  if (extents.size() != shape.size()) return std::nullopt;
  std::vector<std::int64_t> counts;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const auto [start, length] = extents[i];
    const bool whole = length == Extent::kWhole;
    if (!whole && (start < 0 || length <= 0 || length > shape[i] || start > shape[i] - length))
      return std::nullopt;
    counts.push_back(whole ? shape[i] : length);
  }
  return counts;
}

Decoded<V1Tensor> tensor_of(V1TensorRecord record) {
  const std::string which = "tensor " + format::quoted(record.name);
  const auto dtype = dtype_from_number(record.dtype);
  if (!dtype || !v1_storable(*dtype)) {
    return unsupported(
        0, sentence(which, " has a dtype that no V1 file holds (number ", record.dtype, ")"));
  }
  if (record.name.size() > limits::kNameBytesMax) {
    return unsupported(
        0, sentence("the name of ", which, " is longer than ", limits::kNameBytesMax, " bytes"));
  }
  if (record.shape.size() > limits::kRankMax)
    return unsupported(0, sentence(which, " has the rank ", record.shape.size()));
  const auto count = element_count(record.shape);
  if (!count || !checked_mul(*count, std::max(1u, element_bytes(*dtype)))) {
    return corrupt(0, which + " has a negative dimension or too many elements");
  }
  if (record.slices.empty()) return corrupt(0, which + " has no slice, and therefore no values");
  for (const std::vector<Extent>& extents : record.slices) {
    if (!shape_of(extents, record.shape))
      return corrupt(0, which + " has a slice that does not fit its shape");
  }
  return V1Tensor{std::move(record.name), *dtype, std::move(record.shape),
                  std::move(record.slices)};
}

}  // namespace

Decoded<bool> is_v1(TableFile file) {
  auto table = TableReader::open(std::move(file));
  if (!table) return table.error();
  const auto first = table->next();
  if (!first) return first.error();
  return *first && table->key().empty() && table->value().starts_with(kMetaTag);
}

Decoded<V1Reader> V1Reader::open(TableFile file) {
  auto table = TableReader::open(std::move(file));
  if (!table) return table.error();
  V1Reader reader(*std::move(table));
  auto done = reader.read_meta();
  if (done) done = reader.list_slices();
  if (!done) return done.error();
  return reader;
}

Decoded<void> V1Reader::read_meta() {
  const auto first = table_.next();
  if (!first) return first.error();
  if (!*first || !table_.key().empty())
    return corrupt(0, "the V1 file has no list of tensors: its first key is not empty");
  const auto at = [&](DecodeError reason) {
    reason.byte_offset = table_.block_offset();
    return reason;
  };
  auto meta = decode_v1_meta(table_.value());
  if (!meta) return at(corrupt(0, "the first record of the V1 file " + meta.error().what));
  const auto version = check_version(meta->header);
  if (!version) return at(version.error());
  for (V1TensorRecord& record : meta->tensors) {
    auto tensor = tensor_of(std::move(record));
    if (!tensor) return at(tensor.error());
    tensors_.push_back(*std::move(tensor));
  }
  return {};
}

Decoded<void> V1Reader::list_slices() {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    for (std::size_t j = 0; j < tensors_[i].slices.size(); ++j)
      listed_.push_back({slice_key(tensors_[i].name, tensors_[i].slices[j]), i, j});
  }
  std::ranges::sort(listed_, {}, &Listed::key);
  const auto twice = std::ranges::adjacent_find(listed_, {}, &Listed::key);
  if (twice == listed_.end()) return {};
  return corrupt(
      table_.block_offset(),
      "a slice of tensor " + format::quoted(tensors_[twice->tensor].name) + " is listed twice");
}

std::string V1Reader::which() const { return "tensor " + format::quoted(tensors_[tensor()].name); }

Decoded<bool> V1Reader::next() {
  if (in_slice_) {
    const auto finished = finish_slice();
    if (!finished) return finished.error();
    ++at_;
  }
  in_slice_ = false;
  const auto more = table_.next();
  if (!more) return more.error();
  if (!*more && at_ == listed_.size()) return false;
  const std::uint64_t offset = table_.block_offset();
  if (!*more || (at_ < listed_.size() && table_.key() > listed_[at_].key))
    return corrupt(offset, which() + " has a slice whose values are missing");
  if (at_ == listed_.size() || table_.key() != listed_[at_].key) {
    return corrupt(
        offset, "the record " + format::quoted(table_.key()) + " belongs to no slice of a tensor");
  }
  const auto record = decode_v1_slice(table_.value());
  if (!record) return corrupt(offset, "a record of " + which() + " " + record.error().what);
  const V1Tensor& tensor = tensors_[this->tensor()];
  const std::vector<Extent>& extents = tensor.slices[slice()];
  if (record->name != tensor.name || record->extents != extents)
    return corrupt(offset, "a record of " + which() + " names another tensor");
  const auto count = element_count(*shape_of(extents, tensor.shape));
  values_ = V1Values(tensor.dtype, count.value_or(0), record->values);
  in_slice_ = true;
  return true;
}

Decoded<std::span<const std::byte>> V1Reader::next_block() {
  auto block = values_.next_block();
  if (block) return block;
  return DecodeError{block.error().code, table_.block_offset(), which() + " " + block.error().what};
}

Decoded<void> V1Reader::finish_slice() {
  while (true) {
    const auto block = next_block();
    if (!block) return block.error();
    if (block->empty()) return {};
  }
}

}  // namespace cairn::format::tensorflow
