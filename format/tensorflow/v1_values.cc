// Lists of values. FORMAT.md, "V1 files".
//
// Floats stand in the file as they do in memory, so that their pieces are handed on where they are.
// Varints are decoded into a block that is used again, and strings get the lengths and the sum in
// front that a bundle's have. Nothing here is as large as a slice but the list of its strings,
// which is 16 bytes for each that has two in the file.

#include "format/tensorflow/v1_values.h"

#include <algorithm>
#include <limits>

#include "format/digest.h"
#include "format/le.h"
#include "format/sentence.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/varint.h"

namespace cairn::format::tensorflow {

namespace {

constexpr std::size_t kBlockBytes = 64u << 10;
constexpr std::uint32_t kTensorContent = 4;  // TensorProto's field for raw bytes

// Protobuf's wire types.
constexpr std::uint32_t kVarint = 0;
constexpr std::uint32_t kFixed64 = 1;
constexpr std::uint32_t kBytes = 2;
constexpr std::uint32_t kFixed32 = 5;

// Where and how a TensorProto holds the elements of a dtype; a complex one is two floats. `least`
// and `most` bound what a varint may say.
struct List {
  DType dtype;
  std::uint32_t field;
  std::uint32_t wire_type;
  std::int64_t least = 0;
  std::int64_t most = 0;
};

template <class T>
constexpr List int_val(DType dtype) {
  return {dtype, 7, kVarint, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
}

constexpr List kLists[] = {
    {DType::Float32, 5, kFixed32},
    {DType::Float64, 6, kFixed64},
    int_val<std::int32_t>(DType::Int32),
    int_val<std::int16_t>(DType::Int16),
    int_val<std::int8_t>(DType::Int8),
    int_val<std::uint8_t>(DType::Uint8),
    int_val<std::uint16_t>(DType::Uint16),
    int_val<std::int8_t>(DType::Qint8),
    int_val<std::uint8_t>(DType::Quint8),
    int_val<std::int32_t>(DType::Qint32),
    {DType::String, 8, kBytes},
    {DType::Complex64, 9, kFixed32},
    {DType::Int64, 10, kVarint},
    {DType::Bool, 11, kVarint},
    {DType::Complex128, 12, kFixed64},
    {DType::Float16, 13, kVarint, 0, std::numeric_limits<std::uint16_t>::max()},
};

const List* list_of(DType dtype) noexcept {
  const auto* const found = std::ranges::find(kLists, dtype, &List::dtype);
  return found == std::end(kLists) ? nullptr : found;
}

// The value at the front of `rest`, which then starts behind it: of the wire type `type`.
std::optional<std::string_view> take_value(std::string_view& rest, std::uint64_t type) noexcept {
  std::uint64_t size = type == kFixed32 ? 4 : 8;
  std::string_view behind = rest;
  if (type == kBytes) {
    const auto length = take_varint(rest);
    if (!length) return std::nullopt;
    size = *length;
  } else if (type == kVarint) {
    if (!take_varint(behind)) return std::nullopt;
    size = rest.size() - behind.size();
  } else if (type != kFixed32 && type != kFixed64) {
    return std::nullopt;
  }
  if (size > rest.size()) return std::nullopt;
  const std::string_view value = rest.substr(0, size);
  rest.remove_prefix(size);
  return value;
}

}  // namespace

bool v1_storable(DType dtype) noexcept { return list_of(dtype) != nullptr; }

Decoded<std::optional<std::string_view>> FieldPieces::next() {
  while (!rest_.empty()) {
    const auto tag = take_varint(rest_);
    const auto value = tag ? take_value(rest_, *tag & 7) : std::nullopt;
    if (!value) return corrupt(0, "is not a TensorProto: a field is cut off");
    if (*tag >> 3 == kTensorContent && !value->empty())
      return corrupt(0, "has its elements in tensor_content, which TensorFlow does not read");
    if (*tag >> 3 != field_) continue;
    if ((*tag & 7) != wire_type_ && (*tag & 7) != kBytes)
      return corrupt(0, "is not a TensorProto: a known field has another wire type");
    return std::optional(*value);
  }
  return std::optional<std::string_view>();
}

V1Values::V1Values(DType dtype, std::uint64_t count, std::string_view tensor_proto)
    : dtype_(dtype), count_(count) {
  const List* const list = list_of(dtype);
  if (list != nullptr) pieces_ = FieldPieces(tensor_proto, list->field, list->wire_type);
}

Decoded<std::span<const std::byte>> V1Values::next_block() {
  const List* const list = list_of(dtype_);
  if (list == nullptr) return unsupported(0, "has a dtype that no V1 file holds");
  if (list->wire_type == kBytes) return next_strings();
  auto block = list->wire_type == kVarint ? next_numbers() : next_fixed();
  if (!block) return block;
  const std::uint64_t due_bytes = count_ * element_bytes(dtype_) - given_bytes_;
  if (block->size() > due_bytes) return corrupt(0, "has more values than its " + count_is(count_));
  if (block->empty() && due_bytes != 0) {
    return corrupt(0, sentence("has only ", given_bytes_ / element_bytes(dtype_), " of its ",
                               count_is(count_)));
  }
  given_bytes_ += block->size();
  crc32c_ = format::crc32c(*block, crc32c_);
  return block;
}

Decoded<std::span<const std::byte>> V1Values::next_fixed() {
  const std::size_t width = list_of(dtype_)->wire_type == kFixed32 ? 4 : 8;
  while (true) {
    const auto piece = pieces_.next();
    if (!piece) return piece.error();
    if (!*piece) return std::span<const std::byte>();
    if ((*piece)->size() % width != 0)
      return corrupt(0, "is not a TensorProto: a number is cut off");
    if (!(*piece)->empty()) return as_bytes(**piece);
  }
}

Decoded<std::span<const std::byte>> V1Values::next_numbers() {
  const std::size_t width = element_bytes(dtype_);
  // Room for one number more than there should be, which next_block() then warnings, and for the
  // bytes above its width.
  const std::uint64_t due_bytes = (count_ + 1) * width - given_bytes_;
  const std::size_t room = std::min<std::uint64_t>(kBlockBytes, due_bytes);
  block_.resize(room + sizeof(std::int64_t));
  auto* const begin = reinterpret_cast<std::byte*>(block_.data());
  std::size_t filled = 0;
  while (filled < room) {
    if (numbers_.empty()) {
      const auto piece = pieces_.next();
      if (!piece) return piece.error();
      if (!*piece) break;
      numbers_ = **piece;
      continue;
    }
    const auto varint = take_varint(numbers_);
    const auto number = varint ? number_of(*varint) : std::nullopt;
    if (!number) {
      return corrupt(0, varint ? sentence("holds the number ", static_cast<std::int64_t>(*varint),
                                          ", which is not a value of ", name(dtype_))
                               : "is not a TensorProto: a number is cut off");
    }
    store_le(begin + filled, *number);
    filled += width;
  }
  return std::span<const std::byte>(begin, filled);
}

// All lists of integers but int64_val hold int32s, of which protobuf keeps the low 32 bits.
std::optional<std::int64_t> V1Values::number_of(std::uint64_t varint) const noexcept {
  if (dtype_ == DType::Int64) return static_cast<std::int64_t>(varint);
  if (dtype_ == DType::Bool) return varint != 0;
  const List& list = *list_of(dtype_);
  const bool is_short = varint <= std::numeric_limits<std::uint32_t>::max();
  const auto number = is_short ? std::int64_t{static_cast<std::int32_t>(varint)}
                               : static_cast<std::int64_t>(varint);
  if (number < list.least || number > list.most) return std::nullopt;
  return number;
}

Decoded<void> V1Values::gather_strings() {
  has_strings_ = true;
  while (true) {
    const auto piece = pieces_.next();
    if (!piece) return piece.error();
    if (!*piece) break;
    if (strings_.size() == count_)
      return corrupt(0, "has more values than its " + count_is(count_));
    strings_.push_back(**piece);
  }
  if (strings_.size() == count_) return {};
  return corrupt(0, sentence("has only ", strings_.size(), " of its ", count_is(count_)));
}

Decoded<std::span<const std::byte>> V1Values::next_strings() {
  if (!has_strings_) {
    const auto gathered = gather_strings();
    if (!gathered) return gathered.error();
    StringHead head = encode_string_head(strings_);
    crc32c_ = head.crc32c;
    block_ = std::move(head.bytes);
    return as_bytes(block_);
  }
  block_.clear();
  std::string_view given;
  while (next_string_ < strings_.size() && block_.size() < kBlockBytes) {
    const std::string_view text = strings_[next_string_];
    if (text.size() >= kBlockBytes) {  // as it stands, behind those that were gathered
      if (!block_.empty()) break;
      given = text;
      ++next_string_;
      break;
    }
    block_.append(text);
    ++next_string_;
  }
  if (given.empty()) given = block_;
  crc32c_ = format::crc32c(as_bytes(given), crc32c_);
  return as_bytes(given);
}

std::string V1Values::count_is(std::uint64_t count) const {
  return sentence(count, count == 1 ? " element" : " elements");
}

}  // namespace cairn::format::tensorflow
