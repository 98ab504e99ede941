#include "format/onnx/tensor.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "format/checked.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format::onnx {
namespace {

using enum DType;

// Fields of TensorProto.
constexpr std::uint32_t kDims = 1;
constexpr std::uint32_t kDataType = 2;
constexpr std::uint32_t kSegment = 3;
constexpr std::uint32_t kFloats = 4;
constexpr std::uint32_t kInt32s = 5;
constexpr std::uint32_t kStrings = 6;
constexpr std::uint32_t kInt64s = 7;
constexpr std::uint32_t kName = 8;
constexpr std::uint32_t kRaw = 9;
constexpr std::uint32_t kDoubles = 10;
constexpr std::uint32_t kUint64s = 11;
constexpr std::uint32_t kExternal = 13;
constexpr std::uint32_t kLocation = 14;

// What is narrower than a byte has no padding between its elements. Safetensors' name for
// FLOAT8E8M0 is the one under which Cairn can store it there.
constexpr auto kTypes = std::to_array<Type>({
    {1, "FLOAT", Float32, 32, kFloats},
    {2, "UINT8", Uint8, 8, kInt32s},
    {3, "INT8", Int8, 8, kInt32s},
    {4, "UINT16", Uint16, 16, kInt32s},
    {5, "INT16", Int16, 16, kInt32s},
    {6, "INT32", Int32, 32, kInt32s},
    {7, "INT64", Int64, 64, kInt64s},
    {8, "STRING", String, 0, kStrings},
    {9, "BOOL", Bool, 8, kInt32s},
    {10, "FLOAT16", Float16, 16, kInt32s},
    {11, "DOUBLE", Float64, 64, kDoubles},
    {12, "UINT32", Uint32, 32, kUint64s},
    {13, "UINT64", Uint64, 64, kUint64s},
    {14, "COMPLEX64", Complex64, 64, kFloats},
    {15, "COMPLEX128", Complex128, 128, kDoubles},
    {16, "BFLOAT16", Bfloat16, 16, kInt32s},
    {17, "FLOAT8E4M3FN", Float8E4M3FN, 8, kInt32s},
    {18, "FLOAT8E4M3FNUZ", Float8E4M3FNUZ, 8, kInt32s},
    {19, "FLOAT8E5M2", Float8E5M2, 8, kInt32s},
    {20, "FLOAT8E5M2FNUZ", Float8E5M2FNUZ, 8, kInt32s},
    {21, "UINT4", Opaque, 4, kInt32s},
    {22, "INT4", Opaque, 4, kInt32s},
    {23, "FLOAT4E2M1", Opaque, 4, kInt32s},
    {24, "F8_E8M0", Opaque, 8, kInt32s},
    {25, "UINT2", Opaque, 2, kInt32s},
    {26, "INT2", Opaque, 2, kInt32s},
    {27, "FLOAT6E2M3", Opaque, 6, kInt32s},
    {28, "FLOAT6E3M2", Opaque, 6, kInt32s},
});

bool is_list(std::uint32_t field) noexcept {
  return (field >= kFloats && field <= kInt64s) || field == kDoubles || field == kUint64s;
}

// As ONNX Runtime takes numbers: digits and nothing else.
std::optional<std::uint64_t> number_of(std::string_view text) noexcept {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool take_dim(WireReader& reader, std::uint64_t dim, std::vector<std::int64_t>& shape) {
  if (shape.size() == limits::kRankMax) {
    return reader.refuse(
        reader.at(), sentence("a tensor has more dimensions than the limit of ", limits::kRankMax));
  }
  shape.push_back(static_cast<std::int64_t>(dim));
  return true;
}

// One of them, or all in one field.
bool take_dims(WireReader& reader, const Field& field, std::vector<std::int64_t>& shape) {
  if (field.type == WireType::Varint) return take_dim(reader, field.varint, shape);
  if (!is_of(reader, field, WireType::Bytes)) return false;
  reader.enter(field.bytes);
  const std::uint64_t end = field.bytes.offset_bytes + field.bytes.size_bytes;
  while (reader.at() < end) {
    std::uint64_t dim = 0;
    if (!reader.take_varint(end, dim) || !take_dim(reader, dim, shape)) return false;
  }
  return true;
}

class TensorParser {
 public:
  TensorParser(WireReader& reader, const FileRange& message, ParsedTensor& result)
      : reader_(reader), message_(message), result_(result), record_(result.record) {}

  bool take() {
    record_.at = message_.offset_bytes;
    reader_.enter(message_);
    const std::uint64_t end = message_.offset_bytes + message_.size_bytes;
    for (Field field; reader_.next(end, field);) {
      if (!take_field(field)) return false;
    }
    if (reader_.error()) return false;
    place();
    return true;
  }

 private:
  template <class... Parts>
  void complain(const Parts&... parts) {
    if (!result_.problem) {
      result_.problem =
          corrupt(record_.at, sentence("tensor ", quoted(record_.name), ", of type ",
                                       record_.type == nullptr ? "?" : record_.type->name,
                                       " and shape ", shape_text(record_.shape), ": ", parts...));
    }
  }

  bool take_field(const Field& field) {
    switch (field.number) {
      case kDims:
        return take_dims(reader_, field, record_.shape);
      case kDataType:
        number_ = field.varint;
        return is_of(reader_, field, WireType::Varint);
      case kSegment:
        segmented_ = true;
        return true;
      case kName:
        return take_text(reader_, field, limits::kNameBytesMax, record_.name);
      case kRaw:
        raw_ = field.bytes;
        return is_of(reader_, field, WireType::Bytes);
      case kExternal:
        return take_external(field);
      case kLocation:
        external_ = field.varint == 1;
        return is_of(reader_, field, WireType::Varint);
      default:
        return !is_list(field.number) || take_list(field);
    }
  }

  bool take_external(const Field& field) {
    if (!is_of(reader_, field, WireType::Bytes)) return false;
    std::pair<std::string, std::string> pair;
    if (!take_pair(reader_, field.bytes, limits::kNameBytesMax, pair)) return false;
    auto& [key, value] = pair;
    // The last of several counts, in onnx and in ONNX Runtime.
    if (key == "location") location_ = std::move(value);
    if (key == "offset") offset_ = std::move(value);
    if (key == "length") length_ = std::move(value);
    return true;
  }

  // A list may be one field that holds all numbers, or a field for each, or both.
  bool take_list(const Field& field) {
    list_fields_ |= 1u << field.number;
    const bool fixed = field.number == kFloats || field.number == kDoubles;
    const WireType one = field.number == kStrings  ? WireType::Bytes
                         : field.number == kFloats ? WireType::Fixed32
                         : fixed                   ? WireType::Fixed64
                                                   : WireType::Varint;
    if (field.type != one && !is_of(reader_, field, WireType::Bytes)) return false;
    ++list_count_;
    list_ = field;
    list_bytes_ += field.type == WireType::Varint ? 1 : field.bytes.size_bytes;
    return true;
  }

  void place() {
    record_.type = type_of(static_cast<std::uint32_t>(std::min<std::uint64_t>(number_, 1u << 16)));
    const auto count = element_count(record_.shape);
    if (record_.type == nullptr && number_ != 0) {
      result_.left_out =
          sentence("tensor ", quoted(record_.name), ", ", shape_text(record_.shape),
                   ", is left out: its type, ", number_, ", is not known, nor is its size");
      return;
    }
    if (record_.type == nullptr) return complain("it has no type");
    if (segmented_) return complain("it is one segment of several, which no ONNX reader knows");
    const auto bytes = count ? bytes_of(*record_.type, *count) : std::nullopt;
    if (!bytes) return complain("its shape is too large, or has a negative dimension");
    record_.count = *count;
    if (external_) return place_external(*bytes);
    const bool has_raw = raw_ && raw_->size_bytes != 0;
    if (has_raw && list_count_ != 0) return complain("its elements are there twice");
    if (record_.type->dtype == String) return place_strings(has_raw);
    if (list_count_ != 0) return place_list(*bytes);
    record_.bytes = raw_.value_or(FileRange{message_.offset_bytes, 0});
    if (record_.bytes.size_bytes == *bytes) return;
    complain("its elements take ", *bytes, " bytes, and it has ", record_.bytes.size_bytes);
  }

  void place_strings(bool has_raw) {
    if (has_raw) return complain("strings cannot be raw");
    if (list_count_ != record_.count || (list_fields_ & ~(1u << kStrings)) != 0)
      return complain("it needs ", record_.count, " strings, and it has ", list_count_);
    record_.storage = Storage::Listed;
    record_.bytes = message_;
  }

  // Floats lie in a list as they do in memory.
  void place_list(std::uint64_t size_bytes) {
    const Type& type = *record_.type;
    if (list_fields_ != 1u << type.list)
      return complain("its elements stand in a field that this type does not use");
    const bool as_in_memory = type.list == kFloats || type.list == kDoubles;
    if (as_in_memory && list_bytes_ != size_bytes)
      return complain("its elements take ", size_bytes, " bytes, and it has ", list_bytes_);
    // Each number takes a byte at least.
    const std::uint64_t needed = type.bits < 6 ? size_bytes : record_.count;
    if (!as_in_memory && needed > list_bytes_)
      return complain("it needs ", needed, " numbers, and it has at most ", list_bytes_);
    const bool in_place = as_in_memory && list_count_ == 1;
    record_.storage = in_place ? Storage::InPlace : Storage::Listed;
    record_.bytes = in_place ? list_.bytes : message_;
  }

  void place_external(std::uint64_t size_bytes) {
    record_.storage = Storage::External;
    record_.external.size_bytes = size_bytes;
    record_.external.location = std::move(location_);
    if (record_.type->dtype == String) return complain("strings cannot lie in another file");
    if (record_.external.location.empty())
      return complain("it lies in another file, and does not say in which");
    const auto offset = offset_ ? number_of(*offset_) : 0;
    const auto length = length_ ? number_of(*length_) : size_bytes;
    if (!offset || !length) {
      return complain("its place in ", quoted(record_.external.location),
                      " is no number: ", quoted(offset ? *length_ : *offset_));
    }
    record_.external.offset_bytes = *offset;
    if (*length == size_bytes) return;
    complain("its elements take ", size_bytes, " bytes, and it says that it has ", *length, " in ",
             quoted(record_.external.location));
  }

  WireReader& reader_;
  const FileRange message_;
  ParsedTensor& result_;
  TensorRecord& record_;
  std::uint64_t number_ = 0;  // of its type
  bool segmented_ = false;
  std::optional<FileRange> raw_;
  std::uint64_t list_count_ = 0;  // fields
  std::uint64_t list_bytes_ = 0;
  std::uint32_t list_fields_ = 0;  // a bit for each field that is there
  Field list_;                     // the last one
  bool external_ = false;
  std::string location_;
  std::optional<std::string> offset_;
  std::optional<std::string> length_;
};

}  // namespace

const Type* type_of(std::uint32_t number) noexcept {
  const auto* const found = std::ranges::find(kTypes, number, &Type::number);
  return found == kTypes.end() ? nullptr : found;
}

std::optional<std::uint64_t> bytes_of(const Type& type, std::uint64_t count) noexcept {
  const auto bits = checked_mul(count, type.bits);
  if (!bits) return std::nullopt;
  return *bits / 8 + (*bits % 8 != 0 ? 1 : 0);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? "," : "") + std::to_string(size);
  return text + "]";
}

bool is_of(WireReader& reader, const Field& field, WireType type) {
  if (field.type == type) return true;
  return reader.refuse(field.at, sentence("field ", field.number, " has another wire type"));
}

bool take_text(WireReader& reader, const Field& field, std::uint64_t bytes_max, std::string& text) {
  if (!is_of(reader, field, WireType::Bytes)) return false;
  if (field.bytes.size_bytes > bytes_max)
    return reader.refuse(unsupported(field.at, sentence("a text of ", field.bytes.size_bytes,
                                                        " bytes, and the limit is ", bytes_max)));
  std::string_view view;
  if (!reader.text(field.bytes, view)) return false;
  text = view;
  return true;
}

bool take_pair(WireReader& reader, const FileRange& message, std::uint64_t bytes_max,
               std::pair<std::string, std::string>& pair) {
  reader.enter(message);
  const std::uint64_t end = message.offset_bytes + message.size_bytes;
  for (Field field; reader.next(end, field);) {
    if (field.number == 1 && !take_text(reader, field, limits::kNameBytesMax, pair.first))
      return false;
    if (field.number == 2 && !take_text(reader, field, bytes_max, pair.second)) return false;
  }
  return !reader.error();
}

bool take_tensor(WireReader& reader, const FileRange& message, ParsedTensor& tensor) {
  return TensorParser(reader, message, tensor).take();
}

bool take_sparse_tensor(WireReader& reader, const FileRange& message, std::string& left_out) {
  ParsedTensor values;
  std::vector<std::int64_t> shape;
  reader.enter(message);
  const std::uint64_t end = message.offset_bytes + message.size_bytes;
  for (Field field; reader.next(end, field);) {
    const bool is_values = field.number == 1;
    if (is_values && !is_of(reader, field, WireType::Bytes)) return false;
    if (is_values && !take_tensor(reader, field.bytes, values)) return false;
    if (field.number == 3 && !take_dims(reader, field, shape)) return false;
  }
  left_out = sentence("tensor ", quoted(values.record.name), ", ", shape_text(shape),
                      ", is left out: it is sparse; make it dense with the onnx package");
  return !reader.error();
}

}  // namespace cairn::format::onnx
