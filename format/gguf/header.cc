// The header counts its keys and tensors first, but not its bytes, so it is read from as much of
// the file as there is, and again from more where it goes on behind that.

#include "format/gguf/header.h"

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>
#include <utility>

#include "format/checked.h"
#include "format/gguf/types.h"
#include "format/gguf/values.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "format/sorted.h"

namespace cairn::format::gguf {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::size_t kVersionAt = 4;
constexpr std::uint64_t kKeyBytesMin = 13;     // an empty key, and a value of one byte
constexpr std::uint64_t kTensorBytesMin = 24;  // no name and no dimension

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? "," : "") + std::to_string(size);
  return text + "]";
}

class HeaderParser {
 public:
  HeaderParser(std::span<const std::byte> head, const HeaderOptions& options)
      : head_(head), options_(options), cursor_(head, options.file_bytes) {}

  Decoded<std::optional<Header>> parse() {
    header_.alignment = options_.split_alignment.value_or(header_.alignment);
    if (take_counts() && take_metadata() && take_tensors() && place_tensors() && sort())
      return std::optional(std::move(header_));
    if (cursor_.error()) return *cursor_.error();
    return std::optional<Header>();
  }

 private:
  // What of a tensor its facts do not say.
  struct Info {
    std::uint64_t at = 0;        // in the file, for complaints
    const Type* type = nullptr;  // nullptr: it is to be left out
  };

  template <class... Parts>
  [[gnu::cold, gnu::noinline]] bool refuse(std::uint64_t at, const Parts&... parts) {
    return cursor_.refuse(corrupt(at, sentence(parts...)));
  }

  bool take_version();
  bool take_counts();
  bool take_metadata();
  bool take_known_key(std::uint64_t at, std::string_view key, const Value& value);
  bool take_tensors();
  bool take_shape(TensorFacts& tensor);
  bool take_type(TensorFacts& tensor, const Type*& type);
  bool place_tensors();
  bool place(const Info& info, TensorFacts& tensor);
  bool sort();

  std::span<const std::byte> head_;
  const HeaderOptions& options_;
  Cursor cursor_;
  Header header_;
  std::uint64_t tensor_count_ = 0;
  std::uint64_t key_count_ = 0;
  std::vector<Info> infos_;  // of each of the header's tensors
};

// ---- Counts -------------------------------------------------------------------------------------

// A version in the other byte order has no bit set in its lower half.
bool HeaderParser::take_version() {
  std::uint32_t version = 0;
  std::uint32_t magic = 0;
  if (!as_text(head_).starts_with(kMagic)) return refuse(0, "this is no GGUF file");
  if (!cursor_.take(magic) || !cursor_.take(version)) return false;
  const bool swapped = version != 0 && (version & 0xffff) == 0;
  if (swapped) {
    cursor_.set_swaps();
    version = __builtin_bswap32(version);
  }
  const std::uint32_t first = swapped ? 3 : 2;
  if (version >= first && version <= 3) return true;
  return cursor_.refuse(unsupported(
      kVersionAt, sentence("the GGUF file is of version ", version, swapped ? ", big-endian" : "",
                           ", and 2 and 3 are known, 3 big-endian too")));
}

bool HeaderParser::take_counts() {
  if (!take_version() || !cursor_.take(tensor_count_) || !cursor_.take(key_count_)) return false;
  header_.tensor_count = tensor_count_;
  if (tensor_count_ > limits::kGgufTensorsMax || key_count_ > limits::kGgufKeysMax) {
    return cursor_.refuse(
        unsupported(8, sentence("the header has ", tensor_count_, " tensors and ", key_count_,
                                " keys, and the limits are ", limits::kGgufTensorsMax, " and ",
                                limits::kGgufKeysMax)));
  }
  return cursor_.fits(tensor_count_, kTensorBytesMin) && cursor_.fits(key_count_, kKeyBytesMin);
}

// ---- Metadata -----------------------------------------------------------------------------------

bool HeaderParser::take_metadata() {
  std::uint64_t left_bytes = limits::kGgufMetadataBytesMax;
  for (; key_count_ != 0; --key_count_) {
    const std::uint64_t at = cursor_.at();
    std::string_view key;
    Value value;
    if (!cursor_.take_text(key) || !take_value(cursor_, left_bytes, value)) return false;
    if (!take_known_key(at, key, value)) return false;
    if (value.too_long || key.starts_with(kReservedKeys)) {
      header_.left_out.push_back(sentence(
          "metadata ", quoted(key),
          value.too_long ? sentence(" is left out: with it all metadata would be longer than the "
                                    "limit of ",
                                    limits::kGgufMetadataBytesMax, " bytes of text")
                         : " is left out: it is called as Cairn's own is"));
      continue;
    }
    left_bytes -= value.text.size();
    header_.metadata.emplace_back(key, std::move(value.text));
  }
  return true;
}

// Those that say how to read the file.
bool HeaderParser::take_known_key(std::uint64_t at, std::string_view key, const Value& value) {
  if (key == "split.no") header_.split.number = value.number.value_or(0);
  if (key == "split.count") header_.split.count = value.number.value_or(0);
  if (key == "split.tensors.count") header_.split.tensor_count = value.number.value_or(0);
  if (key != "general.alignment") return true;
  const std::uint64_t alignment = value.number.value_or(0);
  if (value.type != ValueType::Uint32 || !std::has_single_bit(alignment)) {
    return refuse(at, "general.alignment is ", quoted(value.text), " of type ",
                  static_cast<std::uint32_t>(value.type),
                  ", and it must be a power of two of type 4 (UINT32)");
  }
  header_.alignment = static_cast<std::uint32_t>(alignment);
  return true;
}

// ---- Tensors ------------------------------------------------------------------------------------

// The memory is asked for once, and for no more tensors than the bytes that are there can hold.
bool HeaderParser::take_tensors() {
  const std::uint64_t count =
      std::min(tensor_count_, (head_.size() - cursor_.at()) / kTensorBytesMin);
  header_.tensors.reserve(count);
  infos_.reserve(count);
  for (; tensor_count_ != 0; --tensor_count_) {
    Info& info = infos_.emplace_back(cursor_.at(), nullptr);
    TensorFacts& tensor = header_.tensors.emplace_back();
    std::string_view name;
    if (!cursor_.take_text(name)) return false;
    if (name.size() > limits::kNameBytesMax)
      return refuse(info.at, "a name of ", name.size(), " bytes, allowed are ",
                    limits::kNameBytesMax);
    tensor.name = name;
    if (!take_shape(tensor) || !take_type(tensor, info.type)) return false;
  }
  return true;
}

// The file has the dimension that varies fastest first.
bool HeaderParser::take_shape(TensorFacts& tensor) {
  std::uint32_t rank = 0;
  if (!cursor_.take(rank)) return false;
  if (rank > limits::kRankMax) {
    return cursor_.refuse(sentence("tensor ", quoted(tensor.name), ": ", rank,
                                   " dimensions, more than the limit of ", limits::kRankMax));
  }
  tensor.shape.reserve(rank);
  for (std::uint32_t i = 0; i < rank; ++i) {
    std::uint64_t dimension = 0;
    if (!cursor_.take(dimension)) return false;
    const auto size = fits<std::int64_t>(dimension);
    if (!size) {
      return cursor_.refuse(
          sentence("tensor ", quoted(tensor.name), ": a dimension of ", dimension));
    }
    tensor.shape.push_back(*size);
  }
  std::ranges::reverse(tensor.shape);
  if (element_count(tensor.shape)) return true;
  return cursor_.refuse(sentence("tensor ", quoted(tensor.name), ": its shape is too large"));
}

// `type` stays nullptr where the tensor is to be left out.
bool HeaderParser::take_type(TensorFacts& tensor, const Type*& type) {
  std::uint32_t number = 0;
  if (!cursor_.take(number) || !cursor_.take(tensor.span.offset_bytes)) return false;
  const Type* const known = type_of(number);
  const auto leave_out = [&](const std::string& why) {
    header_.left_out.push_back(sentence("tensor ", quoted(tensor.name), ", ",
                                        shape_text(tensor.shape), ", is left out: ", why));
    return true;
  };
  if (known == nullptr)
    return leave_out(sentence("its type, ", number, ", is not known, nor is its size"));
  const bool ordered = known->dtype != DType::Opaque && known->dtype != DType::Bfloat16;
  if (cursor_.swaps() && !ordered) {
    return leave_out(sentence("some writers store ", known->name,
                              " little-endian in a big-endian file, and some do not"));
  }
  type = known;
  tensor.dtype = known->dtype;
  tensor.other_byte_order = cursor_.swaps() && known->bytes() > 1;
  if (tensor.dtype != DType::Opaque) return true;
  tensor.opaque_dtype = known->name;
  tensor.opaque_block = known->block;
  return true;
}

// ---- Places -------------------------------------------------------------------------------------

bool HeaderParser::place_tensors() {
  std::vector<TensorFacts>& tensors = header_.tensors;
  if (header_.split.count > 1 && !options_.split_alignment) {
    tensors.clear();
    return true;
  }
  const std::uint64_t data = round_up(cursor_.at(), header_.alignment);
  header_.data_offset_bytes = std::min(data, options_.file_bytes);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (infos_[i].type == nullptr) continue;
    if (!place(infos_[i], tensors[i])) return false;
    if (kept != i) tensors[kept] = std::move(tensors[i]);
    ++kept;
  }
  tensors.resize(kept);
  return true;
}

bool HeaderParser::place(const Info& info, TensorFacts& tensor) {
  const std::uint64_t per_block = info.type->elements();
  const auto row = static_cast<std::uint64_t>(tensor.shape.empty() ? 1 : tensor.shape.back());
  if (row % per_block != 0) {
    return refuse(info.at, "tensor ", quoted(tensor.name), ": rows of ", row,
                  " elements are no whole number of blocks of ", per_block, ", as ",
                  info.type->name, " has");
  }
  const std::uint64_t count = element_count(tensor.shape).value_or(0);
  const auto size = checked_mul(count / per_block, info.type->bytes());
  const auto offset =
      checked_add(round_up(cursor_.at(), header_.alignment), tensor.span.offset_bytes);
  const bool inside_file = size && offset && inside(*offset, *size, options_.file_bytes);
  if (!size || !offset || (options_.whole && !inside_file && *size != 0)) {
    return refuse(info.at, "tensor ", quoted(tensor.name), ": its bytes, at ",
                  tensor.span.offset_bytes, " of the data, which begin at byte ",
                  header_.data_offset_bytes, ", end behind the file's ", options_.file_bytes,
                  " bytes: it is truncated");
  }
  // A tensor without bytes may be said to lie anywhere.
  tensor.span = {0, *size == 0 ? header_.data_offset_bytes : *offset, *size, std::nullopt};
  return true;
}

// ---- Order --------------------------------------------------------------------------------------

bool HeaderParser::sort() {
  std::ranges::sort(header_.metadata);
  const auto key = std::ranges::adjacent_find(header_.metadata, {}, &KeyValues::value_type::first);
  if (key != header_.metadata.end())
    return refuse(0, "the metadata has ", quoted(key->first), " twice");
  sort_by_name(header_.tensors);
  const TensorFacts* const name = find_twice(header_.tensors);
  return name == nullptr || refuse(0, "the file has two tensors called ", quoted(name->name));
}

}  // namespace

Decoded<std::optional<Header>> decode_header(std::span<const std::byte> head,
                                             const HeaderOptions& options) {
  return HeaderParser(head, options).parse();
}

}  // namespace cairn::format::gguf
