#include "npy_file.h"

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "npy.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

Error refused(Code code, const fs::path& path, std::string_view why) {
  return {code, 0, fmt::format("{}: {}", path.native(), why)};
}

bool is_text(const Tensor& tensor) {
  return tensor.dtype() == DType::Opaque && tensor.dtype_name().starts_with('S');
}

// numpy's name: of an opaque dtype the library keeps it.
std::string_view numpy_name(const Tensor& tensor) {
  return tensor.dtype() == DType::Opaque ? tensor.dtype_name() : npy_description(tensor.dtype());
}

// The dtype of what is saved: `wanted`, if `cairn cat --npy` writes both alike.
Result<DType> dtype_of(const fs::path& path, const Tensor& tensor, std::optional<DType> wanted) {
  const DType dtype = is_text(tensor) ? DType::String : tensor.dtype();
  const std::string_view name = numpy_name(tensor);
  const auto unsupported = [&](const std::string& why) {
    return refused(Code::Unsupported, path, why);
  };
  if (wanted && dtype != *wanted && npy_description(*wanted) != name)
    return unsupported(fmt::format("numpy's '{}' is not {}", name, cairn::name(*wanted)));
  if (wanted) return *wanted;
  if (name == "V1")
    return unsupported(fmt::format(
        "has elements of one byte without a type ('V1'): give the dtype, as NAME:DTYPE={}",
        path.native()));
  if (dtype == DType::Opaque)
    return unsupported(fmt::format("checkpoints have no dtype for numpy's '{}'", name));
  return dtype;
}

Result<std::vector<std::byte>> read_whole(const Tensor& tensor) {
  const auto size_bytes = tensor.read_bytes();
  if (!size_bytes) return size_bytes.error();
  std::vector<std::byte> whole(*size_bytes);
  const auto done = tensor.read(whole);
  if (!done) return done.error();
  return whole;
}

Result<void> write_text(const Tensor& tensor, std::string_view name, Writer& writer) {
  const auto whole = read_whole(tensor);
  if (!whole) return whole.error();
  std::size_t count = 1;
  for (const std::int64_t size : tensor.shape()) count *= static_cast<std::size_t>(size);
  const std::string_view text(reinterpret_cast<const char*>(whole->data()), whole->size());
  std::vector<std::string_view> values;
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto padded = text.substr(i * (text.size() / count), text.size() / count);
    values.push_back(padded.substr(0, padded.find_last_not_of('\0') + 1));
  }
  return writer.write_strings(name, values);
}

}  // namespace

Result<NpyFile> open_npy(const fs::path& path, std::optional<DType> wanted) {
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    return refused(Code::NotFound, path,
                   "does not exist; to give a value and not a file, use NAME:DTYPE=VALUE");
  if (!fs::is_regular_file(path, ignored))
    return refused(Code::Invalid, path, "is not a regular file");
  OpenOptions options;
  if (wanted && element_bytes(*wanted) != 0) options.formats.void_dtype = wanted;
  auto opened = Checkpoint::open(path, options);
  if (!opened) return std::move(opened).error();
  if (opened->format() != Format::Npy)
    return refused(Code::Unsupported, path, "is not an .npy file");
  const Tensor tensor = opened->tensor_at(0);
  const auto dtype = dtype_of(path, tensor, wanted);
  if (!dtype) return dtype.error();
  return NpyFile{*std::move(opened), tensor, *dtype};
}

Result<void> write_npy(const NpyFile& file, std::string_view name, Writer& writer) {
  if (file.dtype == DType::String) return write_text(file.tensor, name, writer);
  const auto mapped = file.tensor.bytes();
  if (mapped) return writer.write(name, *mapped);
  if (mapped.error().code != Code::Unsupported) return mapped.error();
  const auto whole = read_whole(file.tensor);
  if (!whole) return whole.error();
  return writer.write(name, *whole);
}

}  // namespace cairn::tools
