#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "array.h"
#include "cairn/checkpoint.h"
#include "cairn/dequantize.h"
#include "cairn/object_graph.h"
#include "element.h"
#include "npy.h"
#include "output.h"
#include "packed.h"
#include "slice.h"
#include "terminal.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Print all elements of a tensor, one row on each line, as numpy prints arrays. Floats\n"
    "have the shortest form that reads back to the same value. Strings are Python bytes\n"
    "literals. Quantized tensors of a GGUF file print the float32 values that gguf-py\n"
    "computes. Packed elements of two and four bits (INT4 and so on) print as numbers, but\n"
    "for a slice. Values of other kinds (variants, unknown types) are hexadecimal bytes. On a\n"
    "terminal, the middle of an array of more than 1,000 elements is left out, as numpy does.";

constexpr const char* kFooter =
    "Exit status: 0 the tensor was printed, 2 it was not (no such tensor, damage, a wrong\n"
    "slice).\n\n"
    "An object path is what `cairn tree` prints, joined by '/': model/layers/0/kernel. SLICE\n"
    "is in numpy's notation without steps. For each dimension: A:B (from A up to, but\n"
    "without, B; both are optional; negative numbers count from the end) or one index. Other\n"
    "dimensions are printed whole. --npy writes bfloat16 and the narrow floats as void of the\n"
    "same width, as ml_dtypes does. After loading, call .view(ml_dtypes.bfloat16).\n\n"
    "Examples:\n"
    "  cairn cat saved/train2-9 v1\n"
    "  cairn cat saved/train2-9 embedding --slice 0:3,:8\n"
    "  cairn cat saved/train2-9 embedding --npy > embedding.npy\n"
    "  cairn cat saved/train2-9 embedding --raw | sha256sum";

struct Options {
  std::string path;
  std::string tensor;
  std::string slice;
  bool raw = false;
  bool npy = false;
  bool all = false;
  bool follow_links = false;
  FormatOptions formats;
};

// A person gets of a large array what numpy shows of it; another program gets all.
ArrayStyle style_of(Columns columns, const Part& part, const Options& options) {
  constexpr std::uint64_t kAllMax = 1000;  // numpy's
  std::uint64_t count = 1;
  for (const std::int64_t size : part.shape) count *= static_cast<std::uint64_t>(size);
  const bool all = options.all || count <= kAllMax || !terminal_width();
  return {columns, all ? Shown::All : Shown::Edges};
}

// The elements of a tensor or of a part of it: in the mapping where they lie as needed, else a
// copy.
class Elements {
 public:
  Elements(Elements&&) = default;  // moving keeps the copy where it is; copying would not

  static Result<Elements> load(const Tensor& tensor, const Part& part) {
    Elements elements;
    if (part.ranges.empty()) {
      const auto mapped = tensor.bytes();
      if (mapped) {
        elements.bytes_ = *mapped;
        return elements;
      }
      if (mapped.error().code != Code::Unsupported) return mapped.error();
    }
    const auto size = tensor.read_bytes(part.ranges);
    if (!size) return size.error();
    elements.copy_.resize(*size);
    const auto done = tensor.read(elements.copy_, part.ranges);
    if (!done) return done.error();
    elements.bytes_ = elements.copy_;
    return elements;
  }

  // Of bytes that somebody else keeps.
  static Result<Elements> of(std::span<const std::byte> bytes) {
    Elements elements;
    elements.bytes_ = bytes;
    return elements;
  }

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  Elements() = default;

  std::vector<std::byte> copy_;
  std::span<const std::byte> bytes_;
};

void print_bytes(std::span<const std::byte> bytes) {
  print({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// numpy's own strings have one width, and what ends with NUL is cut: refused rather than changed.
Result<void> print_strings_npy(std::span<const std::string_view> strings,
                               std::span<const std::int64_t> shape) {
  std::size_t width = 1;
  for (const std::string_view value : strings) {
    width = std::max(width, value.size());
    if (value.ends_with('\0')) {
      return Error{Code::Unsupported, 0,
                   "--npy cannot hold these strings: one ends with a NUL byte, which numpy "
                   "removes; use --raw"};
    }
  }
  print(npy_header(fmt::format("|S{}", width), shape));
  for (const std::string_view value : strings) {
    print(value);
    print(std::string(width - value.size(), '\0'));
  }
  return {};
}

Result<void> print_strings(const Tensor& tensor, const Part& part, const Options& options) {
  const auto strings = tensor.strings(part.ranges);
  if (!strings) return strings.error();
  if (options.npy) return print_strings_npy({strings->begin(), strings->end()}, part.shape);
  if (options.raw) {
    for (const std::string_view value : *strings) print(value);
    return {};
  }
  print_array(part.shape, style_of(Columns::Ragged, part, options),
              [&](std::string& out, std::size_t position) {
                append_bytes_literal(out, (*strings)[position]);
              });
  return {};
}

Result<void> print_elements(const Tensor& tensor, const Part& part, const Options& options) {
  const auto own_byte = options.raw || !part.ranges.empty() ? std::nullopt : unpacked_dtype(tensor);
  const auto copy = own_byte ? unpacked(tensor) : std::vector<std::byte>();
  if (!copy) return copy.error();
  const auto elements = own_byte ? Elements::of(*copy) : Elements::load(tensor, part);
  if (!elements) return elements.error();
  const std::span<const std::byte> bytes = elements->bytes();
  const DType dtype = own_byte.value_or(tensor.dtype());
  const std::size_t width = element_bytes(dtype);
  if (options.npy) {
    const std::string_view description = npy_description(dtype);
    if (description.empty()) {
      return Error{Code::Unsupported, 0,
                   fmt::format("numpy has no type for {}: use --raw", tensor.dtype_name())};
    }
    print(npy_header(description, part.shape));
  }
  if (options.npy || options.raw) {
    print_bytes(bytes);
  } else if (width == 0) {
    print(hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()}) + "\n");
  } else {
    print_array(part.shape, style_of(Columns::Aligned, part, options),
                [&](std::string& out, std::size_t position) {
                  append_element(out, dtype, bytes.data() + position * width);
                });
  }
  return {};
}

// As the float32 values that the blocks stand for.
Result<void> print_quantized(const Tensor& tensor, const Part& part, const Options& options) {
  const auto values = dequantize(tensor, part.ranges);
  if (!values) return values.error();
  const auto bytes = std::as_bytes(std::span(*values));
  if (options.npy) {
    print(npy_header(npy_description(DType::Float32), part.shape));
    print_bytes(bytes);
    return {};
  }
  print_array(part.shape, style_of(Columns::Aligned, part, options),
              [&](std::string& out, std::size_t position) {
                append_element(out, DType::Float32, bytes.data() + position * sizeof(float));
              });
  return {};
}

Result<void> print_tensor(const Checkpoint& checkpoint, const Options& options) {
  const auto tensor = find_tensor(checkpoint, options.tensor);
  if (!tensor) return tensor.error();
  Part part;
  part.shape.assign(tensor->shape().begin(), tensor->shape().end());
  if (!options.slice.empty()) {
    auto parsed = parse_slice(options.slice, tensor->shape());
    if (!parsed) return parsed.error();
    part = *std::move(parsed);
  }
  if (!options.raw && can_dequantize(*tensor)) return print_quantized(*tensor, part, options);
  return tensor->dtype() == DType::String ? print_strings(*tensor, part, options)
                                          : print_elements(*tensor, part, options);
}

}  // namespace

int cat(Arguments arguments) {
  Options options;
  CommandLine line("cairn cat", kDescription, kFooter);
  add_path(line, options.path);
  line.add("TENSOR", options.tensor, "The tensor's name, object path or full name").required();
  line.add("--slice", options.slice, "SLICE", "Print only this part (numpy's notation)");
  const Argument raw =
      line.add_flag("--raw", options.raw,
                    "Write the bytes as in memory (little-endian, row-major); strings one\n"
                    "after another, without separators; quantized tensors in their blocks,\n"
                    "packed elements packed");
  line.add_flag("--npy", options.npy, "Write an .npy file").excludes(raw);
  line.add_flag("--all", options.all, "Print every element on a terminal too");
  add_follow_links(line, options.follow_links);
  add_formats(line, options.formats);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto checkpoint = open_or_complain(options.path, options.follow_links, options.formats);
  if (!checkpoint) return kFailed;
  const auto done = print_tensor(*checkpoint, options);
  if (!done) {
    complain(done.error());
    return kFailed;
  }
  return kYes;
}

}  // namespace cairn::tools
