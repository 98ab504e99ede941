// The header of an .npy file is a Python dictionary: {'descr': '<f4', 'fortran_order': False,
// 'shape': (3, 5), }. numpy evaluates it as Python; here it is read by a grammar that has these
// three keys, each once, in any order, and nothing else.

#include "npy_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>

#include "npy.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kHeaderBytesMax = 64u << 10;  // numpy itself believes 10,000
constexpr std::size_t kBlockBytes = 1u << 20;

Error refused(Code code, const fs::path& path, std::string_view why) {
  return {code, 0, fmt::format("{}: {}", path.native(), why)};
}

// ---- The dictionary

struct Header {
  std::optional<std::string> description;
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
    return sees_end() && header.description && header.fortran_order && header.shape;
  }

 private:
  void skip_blanks() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \n"), text_.size()));
  }
  bool sees_end() {
    skip_blanks();
    return text_.empty();
  }
  bool sees(char c) {
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
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  std::optional<std::string> take_text() {
    const char quote = sees('"') ? '"' : '\'';
    if (!take(quote)) return std::nullopt;
    const std::size_t end = text_.find(quote);
    if (end == std::string_view::npos) return std::nullopt;
    std::string word(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return word;
  }

  std::optional<std::vector<std::int64_t>> take_shape() {
    if (!take('(')) return std::nullopt;
    std::vector<std::int64_t> shape;
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

  // A structure's fields, which nobody reads: what matters is that they are no text.
  bool take_structure(Header& header) {
    if (!sees('[')) return false;
    header.description = "[";
    const std::size_t end = text_.rfind(']');
    if (end == std::string_view::npos) return false;
    text_.remove_prefix(end + 1);
    return true;
  }

  bool take_item(Header& header) {
    const auto key = take_text();
    if (!key || !take(':')) return false;
    if (*key == "descr" && !header.description) {
      if (take_structure(header)) return true;
      header.description = take_text();
      return header.description.has_value();
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

// ---- What it means

// "<f4", "=f4", "f4", "|S4", "?": elements of a kind and width, in an order.
struct Description {
  bool big_endian = false;
  char kind = 0;
  std::uint64_t width = 0;
};

std::optional<Description> parse_description(std::string_view text) {
  Description description;
  if (text.starts_with('<') || text.starts_with('>') || text.starts_with('=') ||
      text.starts_with('|')) {
    description.big_endian = text.starts_with('>');
    text.remove_prefix(1);
  }
  if (text == "?") return Description{false, 'b', 1};
  if (text.empty()) return std::nullopt;
  description.kind = text.front();
  text.remove_prefix(1);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), description.width);
  if (error != std::errc() || end != text.data() + text.size() || description.width == 0)
    return std::nullopt;
  return description;
}

// numpy's names of what both know. Two bytes without a type are what bfloat16 is saved as.
std::optional<DType> dtype_of(const Description& description) {
  struct Row {
    char kind;
    std::uint64_t width;
    DType dtype;
  };
  constexpr std::array<Row, 16> kKnown = {{{'f', 2, DType::Float16},
                                           {'f', 4, DType::Float32},
                                           {'f', 8, DType::Float64},
                                           {'i', 1, DType::Int8},
                                           {'i', 2, DType::Int16},
                                           {'i', 4, DType::Int32},
                                           {'i', 8, DType::Int64},
                                           {'u', 1, DType::Uint8},
                                           {'u', 2, DType::Uint16},
                                           {'u', 4, DType::Uint32},
                                           {'u', 8, DType::Uint64},
                                           {'b', 1, DType::Bool},
                                           {'c', 8, DType::Complex64},
                                           {'c', 16, DType::Complex128},
                                           {'V', 2, DType::Bfloat16},
                                           {'S', 0, DType::String}}};
  for (const Row& row : kKnown) {
    if (row.kind == description.kind && (row.width == 0 || row.width == description.width))
      return row.dtype;
  }
  return std::nullopt;
}

// Whether elements so described may be what the caller says they are: they are that, or without a
// type and as wide, or `cairn cat --npy` writes them so.
bool may_be(const Description& description, DType wanted) {
  if (dtype_of(description) == wanted) return true;
  if (element_bytes(wanted) != description.width) return false;
  if (description.kind == 'V') return true;
  const auto written = parse_description(npy_description(wanted));
  return written && written->kind == description.kind && written->width == description.width;
}

// What the elements are, and how they lie: sets dtype, element_bytes and swap_bytes.
Result<void> take_kind(const std::string& text, std::optional<DType> wanted, NpyFile& file) {
  const auto unsupported = [&](std::string_view why) {
    return refused(Code::Unsupported, file.path, why);
  };
  if (text.starts_with('['))
    return unsupported("has a structured dtype: save each field as a file of its own");
  if (text.starts_with("|O")) {
    return unsupported("holds Python objects, which only Python can read");
  }
  const auto description = parse_description(text);
  if (wanted && !(description && may_be(*description, *wanted)))
    return unsupported(fmt::format("numpy's '{}' is not {}", text, name(*wanted)));
  const auto dtype = wanted || !description ? wanted : dtype_of(*description);
  if (!dtype && description && description->kind == 'V' && description->width == 1)
    return unsupported(fmt::format(
        "has elements of one byte without a type ('{}'): give the dtype, as NAME:DTYPE={}", text,
        file.path.native()));
  if (!dtype) return unsupported(fmt::format("checkpoints have no dtype for numpy's '{}'", text));
  file.dtype = *dtype;
  file.element_bytes = description->width;
  if (description->big_endian && (description->kind == 'f' || description->kind == 'i' ||
                                  description->kind == 'u' || description->kind == 'c'))
    file.swap_bytes = description->kind == 'c' ? description->width / 2 : description->width;
  return {};
}

// Nothing: more than 64 bits hold.
std::optional<std::uint64_t> size_of(const std::vector<std::int64_t>& shape,
                                     std::uint64_t element_bytes) {
  std::uint64_t bytes = element_bytes;
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  for (const std::int64_t size : shape) {
    const auto factor = static_cast<std::uint64_t>(size);
    if (bytes > std::numeric_limits<std::uint64_t>::max() / factor) return std::nullopt;
    bytes *= factor;
  }
  return bytes;
}

// ---- The file

bool read_exactly(std::istream& in, std::string& out, std::size_t bytes) {
  out.resize(bytes);
  in.read(out.data(), static_cast<std::streamsize>(bytes));
  return static_cast<std::size_t>(in.gcount()) == bytes;
}

std::size_t little_endian(std::string_view bytes) {
  std::size_t number = 0;
  for (std::size_t i = bytes.size(); i-- > 0;)
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

// The dictionary's text, and where the data begins.
Result<std::string> read_dictionary(std::istream& in, NpyFile& file) {
  std::string start;
  if (!read_exactly(in, start, kMagic.size() + 2) || !start.starts_with(kMagic))
    return refused(Code::Corrupt, file.path, "is not an .npy file");
  const unsigned version = static_cast<unsigned char>(start[kMagic.size()]);
  if (version < 1 || version > 3 || start.back() != 0) {
    return refused(
        Code::Unsupported, file.path,
        fmt::format("is an .npy file of version {}.{}; versions 1.0 to 3.0 are supported", version,
                    static_cast<unsigned char>(start.back())));
  }
  std::string length;
  if (!read_exactly(in, length, version == 1 ? 2 : 4))
    return refused(Code::Corrupt, file.path, "ends inside its header");
  const std::size_t bytes = little_endian(length);
  if (bytes > kHeaderBytesMax) {
    return refused(
        Code::Unsupported, file.path,
        fmt::format("has a header of {} bytes; the limit is {}", bytes, kHeaderBytesMax));
  }
  std::string dictionary;
  if (!read_exactly(in, dictionary, bytes))
    return refused(Code::Corrupt, file.path, "ends inside its header");
  file.data_offset_bytes = start.size() + length.size() + bytes;
  return dictionary;
}

Result<void> check_size(const NpyFile& file) {
  std::error_code error;
  const std::uint64_t there = fs::file_size(file.path, error);
  if (error) return Error{Code::Io, error.value(), file.path.native() + ": " + error.message()};
  const std::uint64_t there_bytes = there - std::min(there, file.data_offset_bytes);
  if (there_bytes == file.data_bytes) return {};
  return refused(Code::Corrupt, file.path,
                 fmt::format("has {} bytes of elements, but its header says {}: the file is {}",
                             there_bytes, file.data_bytes,
                             there_bytes < file.data_bytes ? "truncated" : "longer than it is"));
}

// The elements of an array whose first dimension varies fastest, with the last one doing so.
std::string row_major(const NpyFile& file, const std::string& all) {
  const std::size_t rank = file.shape.size();
  std::vector<std::size_t> strides(rank, file.element_bytes);
  for (std::size_t i = 1; i < rank; ++i)
    strides[i] = strides[i - 1] * static_cast<std::size_t>(file.shape[i - 1]);
  std::vector<std::size_t> index(rank);
  std::string out;
  out.reserve(all.size());
  std::size_t from = 0;
  while (out.size() < all.size()) {
    out.append(all, from, file.element_bytes);
    for (std::size_t i = rank; i-- > 0;) {
      from += strides[i];
      if (++index[i] < static_cast<std::size_t>(file.shape[i])) break;
      from -= strides[i] * index[i];
      index[i] = 0;
    }
  }
  return out;
}

Result<std::string> read_all(const NpyFile& file, std::istream& in) {
  std::string all;
  if (!read_exactly(in, all, file.data_bytes))
    return refused(Code::Io, file.path, "became shorter while it was read");
  return file.fortran_order ? row_major(file, all) : all;
}

void swap(std::string& bytes, std::size_t unit_bytes) {
  if (unit_bytes < 2) return;
  for (auto at = bytes.begin(); at != bytes.end(); at += static_cast<std::ptrdiff_t>(unit_bytes))
    std::reverse(at, at + static_cast<std::ptrdiff_t>(unit_bytes));
}

Result<void> pour_strings(const NpyFile& file, std::string_view name, std::istream& in,
                          Writer& writer) {
  const auto all = read_all(file, in);
  if (!all) return all.error();
  std::size_t count = 1;
  for (const std::int64_t size : file.shape) count *= static_cast<std::size_t>(size);
  std::vector<std::string_view> values;
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto padded = std::string_view(*all).substr(i * file.element_bytes, file.element_bytes);
    values.push_back(padded.substr(0, padded.find_last_not_of('\0') + 1));
  }
  return writer.write_strings(name, values);
}

}  // namespace

Result<NpyFile> open_npy(const fs::path& path, std::optional<DType> wanted) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return refused(Code::NotFound, path, "does not exist");
  if (!fs::is_regular_file(path, ignored))
    return refused(Code::Invalid, path, "is not a regular file");
  std::ifstream in(path, std::ios::binary);
  if (!in) return refused(Code::Io, path, "cannot be opened");
  NpyFile file;
  file.path = path;
  const auto dictionary = read_dictionary(in, file);
  if (!dictionary) return dictionary.error();
  Header header;
  if (!HeaderParser(*dictionary).parse(header))
    return refused(Code::Corrupt, path, "has a header that numpy does not write");
  const auto taken = take_kind(*header.description, wanted, file);
  if (!taken) return taken.error();
  const auto data_bytes = size_of(*header.shape, file.element_bytes);
  if (!data_bytes) return refused(Code::Corrupt, path, "has a shape that exceeds 64 bits");
  file.shape = *std::move(header.shape);
  file.fortran_order = *header.fortran_order && file.shape.size() > 1;
  file.data_bytes = *data_bytes;
  const auto sized = check_size(file);
  if (!sized) return sized.error();
  return file;
}

Result<void> pour_npy(const NpyFile& file, std::string_view name, Writer& writer) {
  std::ifstream in(file.path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(file.data_offset_bytes));
  if (!in) return refused(Code::Io, file.path, "cannot be read");
  if (file.dtype == DType::String) return pour_strings(file, name, in, writer);
  if (file.fortran_order) {
    auto all = read_all(file, in);
    if (!all) return all.error();
    swap(*all, file.swap_bytes);
    return writer.write(name, std::as_bytes(std::span(*all)));
  }
  std::string block;
  for (std::uint64_t left = file.data_bytes; left != 0; left -= block.size()) {
    if (!read_exactly(in, block, std::min<std::uint64_t>(left, kBlockBytes)))
      return refused(Code::Io, file.path, "became shorter while it was read");
    swap(block, file.swap_bytes);
    const auto done = writer.append(name, std::as_bytes(std::span(block)));
    if (!done) return done;
  }
  return {};
}

}  // namespace cairn::tools
