#include "format/tensorflow/bundle.h"

#include <algorithm>
#include <utility>

#include "format/dtype.h"
#include "format/quoted.h"
#include "format/tensorflow/table.h"
#include "format/tensorflow/wire.h"

namespace cairn::format::tensorflow {

namespace {

// One entry to be: a tensor, or a slice of one.
struct Record {
  std::string_view key;
  const TensorFacts* tensor = nullptr;
  const SliceFacts* slice = nullptr;  // null: the tensor itself
};

DecodeError invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

Decoded<void> check_tensor(const TensorFacts& tensor) {
  const auto wrong = [&](const std::string& what) {
    return invalid("tensor " + format::quoted(tensor.name) + " " + what);
  };
  if (tensor.name.empty()) {
    return invalid("a tensor without a name has no key in TensorFlow's index");
  }
  if (!storable(tensor.dtype)) {
    return wrong("has a dtype that TensorFlow cannot store");
  }
  const auto other_rank = [&](const SliceFacts& slice) {
    return slice.extents.size() != tensor.shape.size();
  };
  if (std::ranges::any_of(tensor.slices, other_rank)) {
    return wrong("has a slice whose rank is not the tensor's rank");
  }
  const auto lacks_sum = [](const SliceFacts& slice) { return !slice.span.crc32c; };
  if (tensor.slices.empty() ? !tensor.span.crc32c : std::ranges::any_of(tensor.slices, lacks_sum)) {
    return wrong("has no checksum");
  }
  return {};
}

std::vector<std::int64_t> slice_shape(const Record& record) {
  std::vector<std::int64_t> shape = record.tensor->shape;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::int64_t length = record.slice->extents[i].length;
    if (length != Extent::kWhole) shape[i] = length;
  }
  return shape;
}

void append_record(std::string& out, const Record& record,
                   std::span<const std::uint32_t> shard_numbers) {
  const TensorFacts& tensor = *record.tensor;
  Span span = record.slice == nullptr ? tensor.span : record.slice->span;
  const bool stored = record.slice != nullptr || tensor.slices.empty();
  if (stored && !shard_numbers.empty()) span.shard = shard_numbers[span.shard];
  if (record.slice == nullptr) {
    append_entry(out, {tensor.dtype, tensor.shape, span, tensor.slices});
  } else {
    append_entry(out, {tensor.dtype, slice_shape(record), span, {}});
  }
}

}  // namespace

Decoded<std::string> encode_bundle(const BundleHeader& header, std::span<const TensorFacts> tensors,
                                   std::span<const std::uint32_t> shard_numbers) {
  std::vector<std::string> slice_keys;
  std::size_t slice_count = 0;
  for (const TensorFacts& tensor : tensors) slice_count += tensor.slices.size();
  slice_keys.reserve(slice_count);  // records hold views of them

  std::vector<Record> records;
  records.reserve(tensors.size() + slice_count);
  for (const TensorFacts& tensor : tensors) {
    const auto checked = check_tensor(tensor);
    if (!checked) return checked.error();
    records.push_back({tensor.name, &tensor, nullptr});
    for (const SliceFacts& slice : tensor.slices) {
      slice_keys.push_back(slice_key(tensor.name, slice.extents));
      records.push_back({slice_keys.back(), &tensor, &slice});
    }
  }
  // Most callers have sorted them, and sorting again costs more than all the rest.
  if (!std::ranges::is_sorted(records, {}, &Record::key)) {
    std::ranges::sort(records, {}, &Record::key);
  }
  const auto twice = std::ranges::adjacent_find(records, {}, &Record::key);
  if (twice != records.end()) {
    return invalid("tensor " + format::quoted(twice->tensor->name) + " and tensor " +
                   format::quoted((twice + 1)->tensor->name) + " have the same key, " +
                   format::quoted(twice->key));
  }

  TableWriter table;
  table.add("", encode_header(header));
  std::string value;
  for (const Record& record : records) {
    value.clear();
    append_record(value, record, shard_numbers);
    table.add(record.key, value);
  }
  return table.finish();
}

std::string shard_suffix(std::uint32_t shard, std::uint32_t shard_count) {
  const auto five_digits = [](std::uint32_t number) {
    const std::string digits = std::to_string(number);
    return digits.size() < 5 ? std::string(5 - digits.size(), '0') + digits : digits;
  };
  return ".data-" + five_digits(shard) + "-of-" + five_digits(shard_count);
}

}  // namespace cairn::format::tensorflow
