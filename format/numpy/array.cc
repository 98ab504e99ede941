// The header is a Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }.
// numpy evaluates it as Python; here it is read by a grammar that has these three keys, each once,
// in any order, and nothing else.

#include "format/numpy/array.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/le.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "lib/try.h"

namespace cairn::format::numpy {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kVersionAt = 6;
constexpr std::size_t kLengthAt = 8;
constexpr std::size_t kHeaderBytesMax = 64u << 10;
// What 16 bits say as bits. An element of more is a block by itself.
constexpr std::uint32_t kBytesInBitsMax = 8'191;

// ---- The dictionary -----------------------------------------------------------------------------

struct Header {
  std::optional<std::string_view> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
};

// Each function takes what it is named for from the start of `text`, and says whether it was there.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  bool parse(Header& header) {
    if (!take('{')) return false;
    while (!take('}')) {
      if (!take_item(header)) return false;
      if (!take(',') && !sees('}')) return false;
    }
    return sees_end() && header.descr && header.fortran_order && header.shape;
  }

  // A row-major array to the letter as numpy writes it, of which this sets the shape. Returns its
  // descr; empty: it is another one.
  std::string_view parse_plain(ShortShape& shape) {
    if (!take_word("{'descr': '")) return {};
    const std::size_t end = std::min(text_.find('\''), text_.size());
    const std::string_view descr = text_.substr(0, end);
    text_.remove_prefix(end);
    const bool is_plain = take_word("', 'fortran_order': False, 'shape': (") &&
                          take_plain_shape(shape) && take_word(", }") && sees_end();
    return is_plain ? descr : std::string_view();
  }

 private:
  static bool is_blank(char c) noexcept { return c == ' ' || c == '\n'; }
  void skip_blanks() {
    if (text_.empty() || !is_blank(text_.front())) return;
    // numpy pads a header with blanks to a multiple of 64 bytes.
    constexpr std::uint64_t kEightBlanks = 0x2020'2020'2020'2020;
    const auto bytes = as_bytes(text_);
    std::size_t at = 0;
    while (bytes.size() - at >= 8 && load_le<std::uint64_t>(bytes.data() + at) == kEightBlanks)
      at += 8;
    while (at < text_.size() && is_blank(text_[at])) ++at;
    text_.remove_prefix(at);
  }
  bool sees_end() {
    skip_blanks();
    return text_.empty();
  }
  bool sees(char c) {
    if (text_.starts_with(c)) return true;
    skip_blanks();
    return text_.starts_with(c);
  }
  bool take(char c) {
    if (!sees(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool take(std::string_view word) {
    skip_blanks();
    return take_word(word);
  }
  bool take_word(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  std::optional<std::string_view> take_text() {
    const char quote = sees('"') ? '"' : '\'';
    if (!take(quote)) return std::nullopt;
    const std::size_t end = text_.find(quote);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view word = text_.substr(0, end);
    text_.remove_prefix(end + 1);
    return word;
  }

  std::optional<std::vector<std::int64_t>> take_shape() {
    if (!take('(')) return std::nullopt;
    std::vector<std::int64_t> shape;
    shape.reserve(4);
    while (!take(')')) {
      skip_blanks();
      std::int64_t size = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) return std::nullopt;
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      shape.push_back(size);
      if (text_.starts_with('L')) text_.remove_prefix(1);  // Python 2's long integers
      // (3) is a number in Python, (3,) a shape.
      if (!take(',') && (shape.size() == 1 || !sees(')'))) return std::nullopt;
    }
    return shape;
  }

  // "2, 3)" or "3,)" or ")".
  bool take_plain_shape(ShortShape& shape) {
    while (!take_word(")")) {
      std::int64_t size = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0 || !shape.add(size)) return false;
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      if (text_.starts_with(')') && shape.dims().size() > 1) continue;
      if (!take_word(", ") && !take_word(",")) return false;
    }
    return true;
  }

  // A structure's fields, which nobody reads: what matters is that they are no text.
  bool take_structure(Header& header) {
    if (!sees('[')) return false;
    header.descr = "[";
    const std::size_t end = text_.rfind(']');
    if (end == std::string_view::npos) return false;
    text_.remove_prefix(end + 1);
    return true;
  }

  bool take_item(Header& header) {
    const auto key = take_text();
    if (!key || !take(':')) return false;
    if (*key == "descr" && !header.descr) {
      if (take_structure(header)) return true;
      header.descr = take_text();
      return header.descr.has_value();
    }
    if (*key == "fortran_order" && !header.fortran_order) {
      const bool yes = take("True");
      if (!yes && !take("False")) return false;
      header.fortran_order = yes;
      return true;
    }
    if (*key == "shape" && !header.shape) {
      header.shape = take_shape();
      return header.shape.has_value();
    }
    return false;
  }

  std::string_view text_;
};

// ---- What it means ------------------------------------------------------------------------------

// "<f4", "=f4", "f4", "|S4", "?", "<M8[ns]": elements of a kind and width, in an order.
struct Element {
  std::string_view name;  // without the order
  bool big_endian = false;
  char kind = 0;
  std::uint64_t width_bytes = 0;
};

std::optional<Element> parse_element(std::string_view text) {
  Element element;
  if (!text.empty() && std::string_view("<>=|").find(text.front()) != std::string_view::npos) {
    element.big_endian = text.front() == '>';
    text.remove_prefix(1);
  }
  element.name = text;
  if (text == "?") return Element{text, false, 'b', 1};
  if (text.empty()) return std::nullopt;
  element.kind = text.front();
  text.remove_prefix(1);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), element.width_bytes);
  const bool has_unit = end != text.data() + text.size() && *end == '[' && text.back() == ']';
  if (error != std::errc() || (end != text.data() + text.size() && !has_unit) ||
      element.width_bytes == 0)
    return std::nullopt;
  if (element.kind != 'U') return element;
  constexpr std::uint64_t kCodePointBytes = 4;
  if (element.width_bytes > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  element.width_bytes *= kCodePointBytes;
  return element;
}

struct KnownElement {
  std::string_view name;  // numpy's
  char kind;
  std::uint64_t width_bytes;
  DType dtype;
};

// What both know.
constexpr std::array<KnownElement, 16> kKnown = {{
    {"f4", 'f', 4, DType::Float32},
    {"f2", 'f', 2, DType::Float16},
    {"f8", 'f', 8, DType::Float64},
    {"f1", 'f', 1, DType::Float8E5M2},
    {"i1", 'i', 1, DType::Int8},
    {"i2", 'i', 2, DType::Int16},
    {"i4", 'i', 4, DType::Int32},
    {"i8", 'i', 8, DType::Int64},
    {"u1", 'u', 1, DType::Uint8},
    {"u2", 'u', 2, DType::Uint16},
    {"u4", 'u', 4, DType::Uint32},
    {"u8", 'u', 8, DType::Uint64},
    {"b1", 'b', 1, DType::Bool},
    {"c8", 'c', 8, DType::Complex64},
    {"c16", 'c', 16, DType::Complex128},
    {"V2", 'V', 2, DType::Bfloat16},
}};

std::optional<DType> dtype_of(const Element& element) {
  if (element.name.ends_with(']')) return std::nullopt;  // a unit
  for (const KnownElement& known : kKnown) {
    if (known.kind == element.kind && known.width_bytes == element.width_bytes) return known.dtype;
  }
  return std::nullopt;
}

// Whether these bytes without a type may be elements of the dtype.
bool may_be(const Element& element, DType dtype) {
  return element.kind == 'V' && element.width_bytes == element_bytes(dtype);
}

// Sets dtype and byte order.
Decoded<void> take_element(std::string_view descr, std::optional<DType> void_dtype,
                           TensorFacts& tensor) {
  if (descr.starts_with('['))
    return unsupported(0, "the array holds structures, which have no dtype of a checkpoint");
  if (descr.starts_with("|O"))
    return unsupported(0, "the array holds Python objects, which only Python can read");
  const auto element = parse_element(descr);
  constexpr std::string_view kKinds = "biufcSUVMm";
  if (!element || kKinds.find(element->kind) == std::string_view::npos)
    return unsupported(
        0, sentence("numpy's dtype ", quoted(descr), " has no equivalent in a checkpoint"));
  const bool is_void = void_dtype && may_be(*element, *void_dtype);
  if (const auto dtype = is_void ? void_dtype : dtype_of(*element)) {
    tensor.dtype = *dtype;
    tensor.other_byte_order =
        element->big_endian && element->width_bytes > 1 && element->kind != 'V';
    return {};
  }
  if (element->width_bytes > std::numeric_limits<std::uint32_t>::max())
    return unsupported(0, sentence("an element of numpy's ", quoted(descr), " has ",
                                   element->width_bytes, " bytes, 4 GiB or more"));
  if (element->big_endian && element->kind != 'S' && element->kind != 'V')
    return unsupported(0, sentence("numpy's dtype ", quoted(descr),
                                   " is big-endian, and a checkpoint holds it little-endian only; "
                                   "save array.astype(\"<",
                                   element->name, "\")"));
  tensor.dtype = DType::Opaque;
  tensor.opaque_dtype = element->name;
  const auto width_bytes = static_cast<std::uint32_t>(element->width_bytes);
  if (width_bytes <= kBytesInBitsMax) {
    tensor.opaque_bits = static_cast<std::uint16_t>(8 * width_bytes);
  } else {
    tensor.opaque_block = {1, width_bytes};
  }
  return {};
}

// The first dimension varies fastest.
void make_column_major(TensorFacts& tensor) {
  std::int64_t stride = 1;
  for (const std::int64_t size : tensor.shape) {
    tensor.strides.push_back(stride);
    stride *= std::max<std::int64_t>(size, 1);
  }
}

// The dtype that numpy has in place of a quantized one.
DType without_scale(DType dtype) noexcept {
  switch (dtype) {
    case DType::Qint8:
      return DType::Int8;
    case DType::Quint8:
      return DType::Uint8;
    case DType::Qint16:
      return DType::Int16;
    case DType::Quint16:
      return DType::Uint16;
    case DType::Qint32:
      return DType::Int32;
    default:
      return dtype;
  }
}

// Where the dictionary begins.
std::size_t header_begin(std::span<const std::byte> file) noexcept {
  return kLengthAt + (file[kVersionAt] == std::byte{1} ? 2 : 4);
}

// Of one byte, of bytes, or void: there is no order.
std::string with_order(std::string_view name) {
  const bool ordered = name.size() > 1 && name != "i1" && name != "u1" && name != "b1" &&
                       name.front() != 'S' && name.front() != 'V';
  return std::string(ordered ? "<" : "|").append(name);
}

}  // namespace

Decoded<std::uint64_t> data_offset_bytes(std::span<const std::byte> preamble) {
  if (!as_text(preamble).starts_with(kMagic)) return corrupt(0, "this is not a .npy file");
  if (preamble.size() < kPreambleBytes) return corrupt(preamble.size(), "it ends in its header");
  const auto major = static_cast<unsigned>(preamble[kVersionAt]);
  const auto minor = static_cast<unsigned>(preamble[kVersionAt + 1]);
  if (major < 1 || major > 3 || minor != 0) {
    return unsupported(kVersionAt, sentence("the .npy file is of version ", major, ".", minor,
                                            ", but only 1.0 to 3.0 are known"));
  }
  const std::byte* const length = preamble.data() + kLengthAt;
  const std::uint64_t header_bytes =
      major == 1 ? load_le<std::uint16_t>(length) : load_le<std::uint32_t>(length);
  if (header_bytes > kHeaderBytesMax) {
    return unsupported(kLengthAt, sentence("the .npy header has ", header_bytes,
                                           " bytes, more than the limit of ", kHeaderBytesMax));
  }
  return kLengthAt + (major == 1 ? 2 : 4) + header_bytes;
}

std::optional<PlainArray> scan_array(std::span<const std::byte> begin, std::uint64_t file_bytes) {
  if (begin.size() < kPreambleBytes) return std::nullopt;
  const auto data_offset = data_offset_bytes(begin.first(kPreambleBytes));
  if (!data_offset || *data_offset > std::min<std::uint64_t>(begin.size(), file_bytes))
    return std::nullopt;
  PlainArray array;
  const auto head = begin.first(*data_offset).subspan(header_begin(begin));
  const auto element = parse_element(HeaderParser(as_text(head)).parse_plain(array.shape));
  if (!element || element->kind == 'V' || (element->big_endian && element->width_bytes > 1))
    return std::nullopt;
  const auto dtype = dtype_of(*element);
  const auto count = element_count(array.shape.dims());
  const auto bytes = count ? checked_mul(*count, element->width_bytes) : std::nullopt;
  if (!dtype || bytes != file_bytes - *data_offset) return std::nullopt;
  array.dtype = *dtype;
  array.data_offset_bytes = *data_offset;
  return array;
}

Decoded<TensorFacts> decode_array(std::span<const std::byte> head, std::uint64_t file_bytes,
                                  std::optional<DType> void_dtype) {
  const auto data_offset = data_offset_bytes(head.first(std::min(head.size(), kPreambleBytes)));
  if (!data_offset) return data_offset.error();
  if (head.size() != *data_offset) return corrupt(head.size(), "it ends in its header");
  const std::size_t begin = header_begin(head);
  Header header;
  if (!HeaderParser(as_text(head.subspan(begin))).parse(header))
    return corrupt(begin, "the .npy header does not have the form that numpy writes");
  TensorFacts tensor;
  CAIRN_CHECK(take_element(*header.descr, void_dtype, tensor));
  tensor.shape = *std::move(header.shape);
  const auto count = element_count(tensor.shape);
  const std::uint64_t width = tensor.dtype != DType::Opaque    ? element_bytes(tensor.dtype)
                              : tensor.opaque_block.bytes != 0 ? tensor.opaque_block.bytes
                                                               : tensor.opaque_bits / 8u;
  const auto data_bytes = count ? checked_mul(*count, width) : std::nullopt;
  if (!data_bytes) return corrupt(begin, "the array's shape is too large");
  const std::uint64_t there_bytes = file_bytes - std::min(file_bytes, *data_offset);
  if (there_bytes != *data_bytes) {
    return corrupt(
        *data_offset,
        sentence("it has ", there_bytes, " bytes of elements, but its header says ", *data_bytes,
                 ": it is ", there_bytes < *data_bytes ? "truncated" : "too long"));
  }
  tensor.span = {0, *data_offset, *data_bytes, std::nullopt};
  if (!*header.fortran_order || tensor.shape.size() < 2) return tensor;
  if (tensor.opaque_block.bytes != 0)
    return unsupported(begin, sentence("elements of more than ", kBytesInBitsMax,
                                       " bytes in Fortran order are not supported"));
  make_column_major(tensor);
  return tensor;
}

std::string descr_of(const ElementType& type) {
  if (type.dtype == DType::Opaque) {
    const auto element = parse_element(type.opaque_name);
    constexpr std::string_view kKinds = "SUVMm";
    // A quote would end the description.
    const bool is_text = std::ranges::all_of(type.opaque_name, [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '[' || c == ']';
    });
    const bool is_numpys = is_text && element && element->name == type.opaque_name &&
                           kKinds.find(element->kind) != std::string_view::npos &&
                           8 * element->width_bytes == type.opaque_bits;
    return is_numpys ? with_order(type.opaque_name) : std::string();
  }
  const DType dtype = without_scale(type.dtype);
  // numpy alone does not load '<f1'.
  const auto* const known = std::ranges::find(kKnown, dtype, &KnownElement::dtype);
  if (known != kKnown.end() && dtype != DType::Float8E5M2) return with_order(known->name);
  const std::uint64_t width = element_bytes(dtype);
  return width == 0 ? std::string() : sentence("|V", width);
}

bool is_told_by_descr(const ElementType& type, std::string_view descr) {
  TensorFacts tensor;
  return take_element(descr, std::nullopt, tensor) && tensor.dtype == type.dtype &&
         tensor.opaque_dtype == type.opaque_name;
}

std::string encode_head(std::string_view descr, std::span<const std::int64_t> shape) {
  std::string text = sentence("{'descr': '", descr, "', 'fortran_order': False, 'shape': (");
  for (const std::int64_t size : shape)
    text += (text.ends_with('(') ? "" : " ") + std::to_string(size) + ",";
  // As numpy prints it: (2, 3), but (3,).
  if (shape.size() > 1) text.pop_back();
  text += "), }";
  constexpr std::size_t kAlignment = 64;
  const bool is_wide = text.size() + kAlignment > std::numeric_limits<std::uint16_t>::max();
  const std::size_t begin = kLengthAt + (is_wide ? 4 : 2);
  text.append((kAlignment - (begin + text.size() + 1) % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string head(kMagic);
  head += is_wide ? '\2' : '\1';
  head += '\0';
  if (is_wide) append_le(head, static_cast<std::uint32_t>(text.size()));
  if (!is_wide) append_le(head, static_cast<std::uint16_t>(text.size()));
  return head + text;
}

}  // namespace cairn::format::numpy
