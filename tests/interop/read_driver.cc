// Reads checkpoints for test_differential.py, as a user's program would: with the public headers.
//
// A line on stdin is a prefix, and behind it any number of slices to read, "NAME RANGES" each: the
// name in hex, ranges "start,count" joined by ':'. Fields are separated by tabs. The answer:
//
//   open    ok | CODE SENTENCE
//   tensor  NAME DTYPE SHAPE ok VALUE | NAME DTYPE SHAPE CODE SENTENCE
//   slice   DTYPE ok VALUE | DTYPE CODE SENTENCE
//   full    ok | CODE SENTENCE         opened once more, with Verify::Full
//   end
//
// VALUE is the bytes that read() gives, in hex; of strings each element in hex, behind a comma.

#include <charconv>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"

namespace {

// A shape that promises more than this has stored nothing of the kind: the files here are small.
constexpr std::uint64_t kValueBytesMax = 64u << 20;

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char character : bytes) {
    const auto byte = static_cast<unsigned char>(character);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string from_hex(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    unsigned byte = 0;
    std::from_chars(text.data() + at, text.data() + at + 2, byte, 16);
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::vector<cairn::Range> ranges_of(const std::string& text) {
  std::vector<cairn::Range> ranges;
  for (const std::string& range : split(text, ':')) {
    const std::size_t comma = range.find(',');
    ranges.push_back({std::stoll(range.substr(0, comma)), std::stoll(range.substr(comma + 1))});
  }
  return ranges;
}

std::string joined(std::span<const std::int64_t> shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ",") + std::to_string(size);
  return text;
}

cairn::Result<std::string> strings_of(const cairn::Tensor& tensor, cairn::Slice slice) {
  auto strings = tensor.strings(slice);
  if (!strings) return strings.error();
  std::string text;
  for (const std::string_view value : *strings) text += "," + hex(value);
  return text;
}

cairn::Result<std::string> value_of(const cairn::Tensor& tensor, cairn::Slice slice) {
  if (tensor.dtype() == cairn::DType::String) return strings_of(tensor, slice);
  const auto size = tensor.read_bytes(slice);
  if (!size) return size.error();
  if (*size > kValueBytesMax) {
    return cairn::Error{cairn::Code::OutOfMemory, 0, std::to_string(*size) + " bytes"};
  }
  std::string bytes(*size, '\0');
  const auto read = tensor.read(std::as_writable_bytes(std::span(bytes)), slice);
  if (!read) return read.error();
  return hex(bytes);
}

void print(const cairn::Error& error) {
  std::cout << '\t' << cairn::name(error.code) << '\t' << error.what << '\n';
}

void print(const cairn::Result<std::string>& value) {
  if (!value) return print(value.error());
  std::cout << "\tok\t" << *value << '\n';
}

void print_slice(const cairn::Checkpoint& checkpoint, const std::string& request) {
  const std::vector<std::string> parts = split(request, ' ');
  const auto tensor = checkpoint.tensor(from_hex(parts.at(0)));
  std::cout << "slice\t" << (tensor ? tensor->dtype_name() : "");
  if (!tensor) return print(tensor.error());
  print(value_of(*tensor, ranges_of(parts.at(1))));
}

void answer(const std::string& line) {
  const std::vector<std::string> parts = split(line, '\t');
  const auto checkpoint = cairn::Checkpoint::open(parts.at(0));
  std::cout << "open";
  if (!checkpoint) return print(checkpoint.error());
  std::cout << "\tok\n";
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const cairn::Tensor tensor = checkpoint->tensor_at(i);
    std::cout << "tensor\t" << hex(tensor.name()) << '\t' << tensor.dtype_name() << '\t'
              << joined(tensor.shape());
    print(value_of(tensor, {}));
  }
  for (std::size_t i = 1; i < parts.size(); ++i) print_slice(*checkpoint, parts[i]);

  cairn::OpenOptions options;
  options.verify = cairn::Verify::Full;
  options.exec.threads_max = 1;
  const auto full = cairn::Checkpoint::open(parts.at(0), options);
  std::cout << "full";
  if (!full) return print(full.error());
  std::cout << "\tok\n";
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    answer(line);
    std::cout << "end\n" << std::flush;
  }
}
