// The header is foreign text that decides where bytes are looked for, so it is read as strictly as
// safetensors' own library reads it, and every number is compared with the file's size.
//
// simdjson's document model checks the whole text (syntax, UTF-8, nothing behind the object) before
// anything is taken from it. Two things it leaves to us: it keeps duplicate keys, of which another
// reader may take the other one, and it wants padding behind the text, for which it makes a copy.

#include "format/safetensors/header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <limits>
#include <new>
#include <optional>
#include <utility>

#include <simdjson.h>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "format/sorted.h"

namespace cairn::format::safetensors {

namespace {

// Room for this many tensors is made at once. A text can claim more than it may keep.
constexpr std::size_t kReservedMax = 1u << 18;

// The offsets of JSON's parts in the file are not known any more: complaints point at its start.
template <class... Parts>
[[gnu::cold]] DecodeError refuse(const Parts&... parts) {
  return corrupt(kLengthBytes, sentence(parts...));
}

// One tensor's entry as it is written.
struct Record {
  std::optional<std::string_view> dtype;
  std::optional<simdjson::dom::array> shape;
  std::optional<simdjson::dom::array> data_offsets;
};

Decoded<Record> read_record(std::string_view name, simdjson::dom::element value) {
  simdjson::dom::object object;
  if (value.get(object))
    return refuse("tensor ", format::quoted(name), ": its description is not a JSON object");
  Record record;
  for (const auto& [key, field] : object) {
    bool twice = false;
    const auto set = [&field, &twice](auto& member) {
      twice = member.has_value();
      return !twice && field.get(member.emplace()) == simdjson::SUCCESS;
    };
    const bool good = key == "dtype"          ? set(record.dtype)
                      : key == "shape"        ? set(record.shape)
                      : key == "data_offsets" ? set(record.data_offsets)
                                              : true;
    if (!good) {
      return refuse("tensor ", format::quoted(name), ": ", format::quoted(key),
                    twice ? " appears twice" : " has the wrong type");
    }
  }
  if (!record.dtype || !record.shape || !record.data_offsets) {
    return refuse("tensor ", format::quoted(name), ": dtype, shape or data_offsets is missing");
  }
  return record;
}

Decoded<void> read_dtype(TensorFacts& tensor, std::string_view dtype) {
  if (const auto known = dtype_from_safetensors(dtype)) {
    tensor.dtype = *known;
    return {};
  }
  const auto opaque_bits = opaque_bits_from_safetensors(dtype);
  if (!opaque_bits) {
    return unsupported(kLengthBytes,
                       sentence("tensor ", format::quoted(tensor.name), ": dtype ",
                                format::quoted(dtype), " has an unknown element size"));
  }
  tensor.dtype = DType::Opaque;
  tensor.opaque_dtype = dtype;
  tensor.opaque_bits = *opaque_bits;
  return {};
}

Decoded<void> read_shape(TensorFacts& tensor, simdjson::dom::array shape) {
  tensor.shape.reserve(std::min<std::size_t>(shape.size(), limits::kRankMax));
  for (const simdjson::dom::element element : shape) {
    std::uint64_t dimension = 0;
    if (element.get(dimension) || !fits<std::int64_t>(dimension)) {
      return refuse("tensor ", format::quoted(tensor.name),
                    ": a dimension is not an integer from 0 to 2^63-1");
    }
    if (tensor.shape.size() == limits::kRankMax) {
      return refuse("tensor ", format::quoted(tensor.name), ": more dimensions than the limit of ",
                    limits::kRankMax);
    }
    tensor.shape.push_back(static_cast<std::int64_t>(dimension));
  }
  return {};
}

// Sets the span, counted from the payload's start.
Decoded<void> read_offsets(TensorFacts& tensor, simdjson::dom::array data_offsets) {
  std::array<std::uint64_t, 2> offsets{};
  std::size_t count = 0;
  for (const simdjson::dom::element element : data_offsets) {
    if (count == offsets.size() || element.get(offsets[count])) {
      count = 0;
      break;
    }
    ++count;
  }
  if (count != offsets.size() || offsets[0] > offsets[1]) {
    return refuse("tensor ", format::quoted(tensor.name),
                  ": data_offsets must be two integers, a begin and an end");
  }
  tensor.span.offset_bytes = offsets[0];
  tensor.span.size_bytes = offsets[1] - offsets[0];
  return {};
}

Decoded<void> check_size(const TensorFacts& tensor) {
  const std::uint64_t bits =
      tensor.dtype == DType::Opaque ? tensor.opaque_bits : 8 * element_bytes(tensor.dtype);
  const auto count = element_count(tensor.shape);
  const auto total = count ? checked_mul(*count, bits) : std::nullopt;
  if (!total) return refuse("tensor ", format::quoted(tensor.name), ": its shape is too large");
  if (*total % 8 != 0 || *total / 8 != tensor.span.size_bytes) {
    return refuse("tensor ", format::quoted(tensor.name), ": ", *count, " elements of ", bits,
                  " bits do not have ", tensor.span.size_bytes, " bytes");
  }
  return {};
}

// Into a place of its own, since moving 200 bytes costs as much as reading them.
Decoded<void> read_tensor(TensorFacts& tensor, std::string_view name,
                          simdjson::dom::element value) {
  auto record = read_record(name, value);
  if (!record) return std::move(record).error();
  tensor.name = name;
  if (auto read = read_dtype(tensor, *record->dtype); !read) return read;
  if (auto read = read_shape(tensor, *record->shape); !read) return read;
  if (auto read = read_offsets(tensor, *record->data_offsets); !read) return read;
  return check_size(tensor);
}

Decoded<KeyValues> read_metadata(simdjson::dom::element value) {
  KeyValues metadata;
  if (value.is_null()) return metadata;
  simdjson::dom::object object;
  if (value.get(object)) return refuse(kMetadataKey, " is not a JSON object");
  std::vector<std::string_view> keys;
  for (const auto& [key, field] : object) {
    std::string_view text;
    if (field.get(text)) return refuse(kMetadataKey, ": ", format::quoted(key), " is not a string");
    metadata.emplace_back(key, text);
    keys.push_back(key);
  }
  std::ranges::sort(keys);
  const auto twice = std::ranges::adjacent_find(keys);
  if (twice != keys.end())
    return refuse(kMetadataKey, ": ", format::quoted(*twice), " appears twice");
  return metadata;
}

Decoded<HeaderFacts> read_entries(simdjson::dom::object entries) {
  HeaderFacts facts;
  facts.tensors.reserve(std::min(entries.size(), kReservedMax));
  bool any_metadata = false;
  for (const auto& [key, value] : entries) {
    if (key == kMetadataKey) {
      if (any_metadata) return refuse(kMetadataKey, " appears twice");
      any_metadata = true;
      auto metadata = read_metadata(value);
      if (!metadata) return std::move(metadata).error();
      facts.metadata = *std::move(metadata);
    } else {
      auto read = read_tensor(facts.tensors.emplace_back(), key, value);
      if (!read) return std::move(read).error();
    }
  }
  return facts;
}

// The tensors' bytes must be the payload's, each once and in any order of names. What is sorted is
// small: a tensor takes 200 bytes.
Decoded<void> check_payload(std::span<const TensorFacts> tensors,
                            std::optional<std::uint64_t> payload_bytes) {
  struct Place {
    std::uint64_t offset_bytes;
    std::uint64_t size_bytes;
    const TensorFacts* tensor;
  };
  std::vector<Place> places;
  places.reserve(tensors.size());
  for (const TensorFacts& tensor : tensors) {
    places.push_back({tensor.span.offset_bytes, tensor.span.size_bytes, &tensor});
  }
  std::ranges::sort(places, {}, [](const Place& place) {
    return std::pair(place.offset_bytes, place.size_bytes);
  });
  std::uint64_t end = 0;
  for (const Place& place : places) {
    if (place.offset_bytes != end) {
      return refuse("tensor ", format::quoted(place.tensor->name), ": starts at byte ",
                    place.offset_bytes, " of the payload, but the tensor before it ends at byte ",
                    end);
    }
    end += place.size_bytes;  // at most the end that the file stated, which fits 64 bits
  }
  if (!payload_bytes && !std::in_range<std::int64_t>(end))
    return refuse("the tensors end at byte ", end,
                  " of the payload, which is more than a file can have");
  if (!payload_bytes || end == *payload_bytes) return {};
  return refuse("the tensors end at byte ", end, " of the payload, but the payload has ",
                *payload_bytes, " bytes");
}

// What careless writers put around the JSON, and other readers refuse as well.
Decoded<void> check_ends(std::string_view json) {
  if (json.starts_with("\xef\xbb\xbf"))
    return refuse(
        "the safetensors header begins with a byte order mark (BOM), which JSON does not allow");
  const std::size_t end = json.find_last_not_of('\0') + 1;
  if (end == json.size()) return {};
  return corrupt(kLengthBytes + end,
                 sentence("the safetensors header is padded with ", json.size() - end,
                          " NUL bytes after its JSON, where only spaces are allowed"));
}

bool has_escape(char letter) noexcept {
  return static_cast<unsigned char>(letter) < 0x20 || letter == '"' || letter == '\\';
}

void append_json(std::string& out, std::string_view text) {
  out += '"';
  while (true) {
    const auto* const escaped = std::ranges::find_if(text, has_escape);
    const auto plain = static_cast<std::size_t>(escaped - text.begin());
    out += text.substr(0, plain);
    if (plain == text.size()) break;
    const char letter = text[plain];
    out += letter == '"' || letter == '\\' ? "\\" : "\\u00";
    if (letter == '"' || letter == '\\')
      out += letter;
    else
      append_hex(out, static_cast<unsigned char>(letter));
    text.remove_prefix(plain + 1);
  }
  out += '"';
}

void append_metadata(std::string& out, const KeyValues& metadata) {
  append_json(out, kMetadataKey);
  out += ":{";
  for (const auto& [key, value] : metadata) {
    if (out.back() != '{') out += ',';
    append_json(out, key);
    out += ':';
    append_json(out, value);
  }
  out += '}';
}

// Empty: it has none in safetensors.
std::string_view dtype_name(const HeaderTensor& tensor) {
  if (tensor.dtype != DType::Opaque) return safetensors_name(tensor.dtype, false);
  return opaque_bits_from_safetensors(tensor.opaque_dtype) ? tensor.opaque_dtype
                                                           : std::string_view();
}

void append_number(std::string& out, std::integral auto number) {
  std::array<char, std::numeric_limits<std::uint64_t>::digits10 + 2> digits;
  const auto end = std::to_chars(digits.begin(), digits.end(), number);
  out.append(digits.data(), end.ptr);
}

void append_tensor(std::string& out, const HeaderTensor& tensor, std::uint64_t begin) {
  append_json(out, tensor.name);
  out += ":{\"dtype\":";
  append_json(out, dtype_name(tensor));
  out += ",\"shape\":[";
  for (const std::int64_t dimension : tensor.shape) {
    if (out.back() != '[') out += ',';
    append_number(out, dimension);
  }
  out += "],\"data_offsets\":[";
  append_number(out, begin);
  out += ',';
  append_number(out, begin + tensor.size_bytes);
  out += "]}";
}

// Of the JSON: enough for nearly every header, so that it is not copied while it grows.
std::uint64_t json_bytes_guess(std::span<const HeaderTensor> tensors) {
  constexpr std::uint64_t kEntryBytes = 96;  // quotes, keys, a dtype, two offsets
  constexpr std::uint64_t kDimensionBytes = 8;
  std::uint64_t guess = 4096;
  for (const HeaderTensor& tensor : tensors)
    guess += kEntryBytes + tensor.name.size() + kDimensionBytes * tensor.shape.size();
  return std::min(guess, limits::kSafetensorsHeaderBytesMax);
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string literal;
  append_json(literal, text);
  return literal;
}

Decoded<std::uint64_t> header_json_bytes(std::span<const std::byte> first_8_bytes, bool large) {
  if (first_8_bytes.size() < kLengthBytes) {
    return corrupt(
        0, sentence("the file has ", first_8_bytes.size(),
                    " bytes, but a safetensors header needs ", kLengthBytes, " for its length"));
  }
  const auto json_bytes = load_le<std::uint64_t>(first_8_bytes.data());
  const std::uint64_t bytes_max =
      large ? limits::kSafetensorsLargeHeaderBytesMax : limits::kSafetensorsHeaderBytesMax;
  if (json_bytes <= bytes_max) return json_bytes;
  const bool may_be_large = json_bytes <= limits::kSafetensorsLargeHeaderBytesMax;
  return corrupt(0, sentence("the safetensors header says that it has ", json_bytes,
                             " bytes, more than the limit of ", bytes_max,
                             may_be_large ? "; to read it all the same, use large_header "
                                            "(--large-header)"
                                          : ""));
}

Decoded<HeaderFacts> decode_header(std::span<const std::byte> head,
                                   std::optional<std::uint64_t> file_bytes) {
  auto json_bytes = header_json_bytes(head, true);
  if (!json_bytes) return std::move(json_bytes).error();
  const std::uint64_t head_bytes = kLengthBytes + *json_bytes;
  const std::uint64_t there =
      std::min<std::uint64_t>(head.size(), file_bytes.value_or(head.size()));
  if (there < head_bytes) {
    return corrupt(0, sentence("the safetensors header says that it has ", *json_bytes,
                               " bytes, but the file has ", there));
  }
  simdjson::dom::parser parser;
  simdjson::dom::object entries;
  const std::string_view json = as_text(head.subspan(kLengthBytes, *json_bytes));
  if (auto plain = check_ends(json); !plain) return std::move(plain).error();
  const simdjson::error_code error = parser.parse(json.data(), json.size()).get(entries);
  if (error == simdjson::MEMALLOC) throw std::bad_alloc();
  if (error) return refuse("the safetensors header is not a JSON object: ", error_message(error));

  auto facts = read_entries(entries);
  if (!facts) return facts;
  // First: of what is there twice the places overlap too, which says less.
  sort_by_name(facts->tensors);
  if (const TensorFacts* const twice = find_twice(facts->tensors))
    return refuse("tensor ", format::quoted(twice->name), " appears twice");
  std::optional<std::uint64_t> payload_bytes;
  if (file_bytes) payload_bytes = *file_bytes - head_bytes;
  if (auto checked = check_payload(facts->tensors, payload_bytes); !checked) {
    return std::move(checked).error();
  }
  for (TensorFacts& tensor : facts->tensors) tensor.span.offset_bytes += head_bytes;
  return facts;
}

std::string encode_header(std::span<const HeaderTensor> tensors, const KeyValues& metadata,
                          std::uint64_t align_bytes) {
  std::string head(kLengthBytes, '\0');
  head.reserve(json_bytes_guess(tensors));
  head += '{';
  if (!metadata.empty()) append_metadata(head, metadata);
  std::uint64_t offset = 0;
  for (const HeaderTensor& tensor : tensors) {
    if (dtype_name(tensor).empty()) return {};
    if (head.size() > limits::kSafetensorsHeaderBytesMax) return {};
    if (head.back() != '{') head += ',';
    append_tensor(head, tensor, offset);
    offset += tensor.size_bytes;
  }
  head += '}';
  if (const std::uint64_t over = head.size() % align_bytes; over != 0) {
    head.append(align_bytes - over, ' ');
  }
  const std::uint64_t json_bytes = head.size() - kLengthBytes;
  if (json_bytes > limits::kSafetensorsHeaderBytesMax) return {};
  std::string length;
  append_le(length, json_bytes);
  return head.replace(0, kLengthBytes, length);
}

bool is_utf8(std::string_view text) noexcept {
  // A short name takes longer to hand over than to look at.
  constexpr std::size_t kShortBytes = 64;
  const auto is_ascii = [](char letter) { return static_cast<unsigned char>(letter) < 0x80; };
  if (text.size() <= kShortBytes && std::ranges::all_of(text, is_ascii)) return true;
  return simdjson::validate_utf8(text.data(), text.size());
}

}  // namespace cairn::format::safetensors
