// Numbers are decoded into a block that is used again. Strings get the lengths and the sum in front
// that a bundle's have, so that all of them are in memory once.

#include "format/onnx/listed.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "format/tensorflow/bundle.h"

namespace cairn::format::onnx {
namespace {

constexpr std::size_t kBlockBytes = 64u << 10;
constexpr std::uint32_t kInt64s = 7;  // fields of TensorProto
constexpr std::uint32_t kUint64s = 11;

bool is_fixed(const Type& type) noexcept { return type.list == 4 || type.list == 10; }

// Elements of six bits are listed one by one, those of two and four as the bytes that they share.
bool shares_bytes(const Type& type) noexcept { return type.bits == 2 || type.bits == 4; }

template <class T>
std::optional<std::uint64_t> within(std::int64_t number) noexcept {
  if (number < std::numeric_limits<T>::min() || number > std::numeric_limits<T>::max())
    return std::nullopt;
  return static_cast<std::uint64_t>(number);
}

// The bits of an element; nothing: the type does not have the number.
std::optional<std::uint64_t> bits_of(const Type& type, std::uint64_t varint) noexcept {
  if (type.list == kInt64s) return varint;
  if (type.list == kUint64s) {
    const bool fits = type.bits == 64 || varint <= std::numeric_limits<std::uint32_t>::max();
    return fits ? std::optional(varint) : std::nullopt;
  }
  const std::int64_t number = static_cast<std::int32_t>(varint);  // of which protobuf keeps these
  switch (type.dtype) {
    case DType::Bool:
      return number != 0 ? 1 : 0;
    case DType::Int8:
      return within<std::int8_t>(number);
    case DType::Int16:
      return within<std::int16_t>(number);
    case DType::Int32:
      return static_cast<std::uint64_t>(number);
    default:
      break;
  }
  const std::uint32_t width = shares_bytes(type) ? 8 : type.bits;
  const bool fits = number >= 0 && number < std::int64_t{1} << width;
  return fits ? std::optional(static_cast<std::uint64_t>(number)) : std::nullopt;
}

}  // namespace

ListedValues::ListedValues(WireReader& reader, const TensorRecord& tensor)
    : reader_(reader),
      tensor_(tensor),
      message_end_(tensor.bytes.offset_bytes + tensor.bytes.size_bytes) {
  const Type& type = *tensor.type;
  const bool bytes = is_fixed(type) || shares_bytes(type);
  needed_ = bytes ? bytes_of(type, tensor.count).value_or(0) : tensor.count;
  reader_.enter(tensor.bytes);
}

bool ListedValues::complain(const std::string& why) {
  return reader_.refuse(tensor_.at, sentence("tensor ", quoted(tensor_.name), ": ", why));
}

Decoded<std::span<const std::byte>> ListedValues::next_block() {
  block_.clear();
  if (ended_) return std::span<const std::byte>();
  const bool strings = tensor_.type->dtype == DType::String;
  if (!(strings ? fill_strings() : fill())) return *reader_.error();
  if (!strings) crc32c_ = format::crc32c(as_bytes(block_), crc32c_);
  return as_bytes(block_);
}

bool ListedValues::next_list() {
  for (Field field; reader_.next(message_end_, field);) {
    if (field.number != tensor_.type->list) continue;
    list_ = field;
    list_end_ = field.bytes.offset_bytes + field.bytes.size_bytes;
    if (field.type != WireType::Varint) reader_.enter(field.bytes);
    return true;
  }
  return false;
}

bool ListedValues::fill() {
  while (block_.size() < kBlockBytes) {
    const bool in_list = list_end_ != 0 && reader_.at() < list_end_;
    if (!in_list && !next_list()) {
      ended_ = true;
      break;
    }
    if (is_fixed(*tensor_.type)) {
      if (!put_fixed()) return false;
      continue;
    }
    std::uint64_t number = list_.varint;
    const bool packed = list_.type != WireType::Varint;
    if (packed && reader_.at() == list_end_) continue;  // an empty list
    if (packed && !reader_.take_varint(list_end_, number)) return false;
    if (!put(number)) return false;
  }
  if (reader_.error()) return false;
  if (!ended_) return true;
  if (given_ != needed_)
    return complain(
        sentence("it has ", given_, " of the numbers of its list, and it needs ", needed_));
  if (bit_count_ != 0) block_.push_back(static_cast<char>(bits_));
  return true;
}

bool ListedValues::put(std::uint64_t varint) {
  const Type& type = *tensor_.type;
  const auto bits = bits_of(type, varint);
  if (!bits) {
    return complain(sentence("its list has the number ", static_cast<std::int64_t>(varint),
                             ", which is no value of ", type.name));
  }
  if (given_++ == needed_)
    return complain(sentence("its list has more than ", needed_, " numbers"));
  if (type.bits != 6) {
    char bytes[sizeof *bits];
    std::memcpy(bytes, &*bits, sizeof bytes);
    block_.append(bytes, std::max<std::size_t>(1, type.bits / 8));
    return true;
  }
  bits_ |= static_cast<std::uint32_t>(*bits) << bit_count_;
  bit_count_ += 6;
  if (bit_count_ < 8) return true;
  block_.push_back(static_cast<char>(bits_ & 0xff));
  bits_ >>= 8;
  bit_count_ -= 8;
  return true;
}

// Numbers that stand as they do in memory, but not all in one place.
bool ListedValues::put_fixed() {
  const std::uint64_t size = std::min<std::uint64_t>(kBlockBytes, list_end_ - reader_.at());
  const FileRange part{reader_.at(), size};
  std::string_view text;
  if (!reader_.text(part, text)) return false;
  if (size > needed_ - given_) return complain("its list is longer than its shape");
  block_ += text;
  given_ += size;
  reader_.enter({part.offset_bytes + size, 0});
  return true;
}

bool ListedValues::fill_strings() {
  ended_ = true;
  if (tensor_.bytes.size_bytes > limits::kOnnxStringsBytesMax) {
    return reader_.refuse(unsupported(
        tensor_.at,
        sentence("tensor ", quoted(tensor_.name), ": its strings take ", tensor_.bytes.size_bytes,
                 " bytes, and the limit is ", limits::kOnnxStringsBytesMax)));
  }
  std::string payload;
  std::vector<std::size_t> ends;
  while (next_list()) {
    std::string_view text;
    if (!reader_.text(list_.bytes, text)) return false;
    payload += text;
    ends.push_back(payload.size());
    reader_.enter({list_end_, 0});
  }
  if (reader_.error()) return false;
  if (ends.size() != needed_) return complain(sentence("it has ", ends.size(), " strings"));
  std::vector<std::string_view> strings;
  strings.reserve(ends.size());
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    strings.push_back(std::string_view(payload).substr(begin, end - begin));
    begin = end;
  }
  tensorflow::StringHead head = tensorflow::encode_string_head(strings);
  crc32c_ = format::crc32c(as_bytes(payload), head.crc32c);
  block_ = std::move(head.bytes) + payload;
  return true;
}

}  // namespace cairn::format::onnx
