// What the Writer writes, every reader reads: the same names, dtypes, shapes and bytes, from both
// indexes, and after conversion.

#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "cairn/cairn.h"
#include "fuzz.h"
#include "tests/fuzz/folder.h"

using namespace cairn;

namespace {

struct Value {
  DType dtype{};
  std::vector<std::int64_t> shape;
  std::string bytes;
};
using Values = std::map<std::string, Value>;

constexpr DType kDTypes[] = {DType::Float32, DType::Int8,    DType::Bool,       DType::Bfloat16,
                             DType::Int64,   DType::Float64, DType::Complex128, DType::Uint16};

Values take(FuzzedDataProvider& data) {
  Values values;
  const auto count = data.ConsumeIntegralInRange<std::size_t>(1, 6);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = data.ConsumeRandomLengthString(24);
    Value value{
        kDTypes[data.ConsumeIntegralInRange<std::size_t>(0, std::size(kDTypes) - 1)], {}, {}};
    const auto rank = data.ConsumeIntegralInRange<std::size_t>(0, 3);
    std::uint64_t elements = 1;
    for (std::size_t k = 0; k < rank; ++k) {
      value.shape.push_back(data.ConsumeIntegralInRange<std::int64_t>(0, 5));
      elements *= static_cast<std::uint64_t>(value.shape.back());
    }
    value.bytes = data.ConsumeBytesAsString(elements * element_bytes(value.dtype));
    value.bytes.resize(elements * element_bytes(value.dtype));
    values[name] = value;
  }
  return values;
}

// False where the Writer says no to what it was asked.
bool write(const std::filesystem::path& prefix, const Values& values,
           const WriterOptions& options) {
  std::vector<TensorSpec> specs;
  std::vector<NamedBytes> tensors;
  for (const auto& [name, value] : values) {
    specs.push_back({name, value.dtype, value.shape});
    tensors.push_back({name, format::as_bytes(value.bytes)});
  }
  auto writer = Writer::create(prefix, specs, options);
  if (!writer) return false;
  fuzz::demand(writer->write_all(tensors) && writer->commit(), "what was begun can be committed");
  return true;
}

void compare(const std::filesystem::path& path, const Values& values) {
  OpenOptions options;
  options.verify = Verify::Full;
  const auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint) std::fprintf(stderr, "%s\n", checkpoint.error().what.c_str());
  fuzz::demand(checkpoint, "what was written can be opened");
  fuzz::demand(checkpoint->tensor_count() == values.size(), "exactly what was saved is there");
  for (const auto& [name, value] : values) {
    const auto tensor = checkpoint->tensor(name);
    fuzz::demand(tensor, "every tensor is found");
    fuzz::demand(tensor->dtype() == value.dtype, "dtypes are kept");
    fuzz::demand(std::ranges::equal(tensor->shape(), value.shape), "shapes are kept");
    const auto bytes = tensor->bytes();
    fuzz::demand(bytes && format::as_text(*bytes) == value.bytes, "bytes are kept");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  FuzzedDataProvider provider(data, size);
  WriterOptions options;
  if (provider.ConsumeBool())
    options.alignment_bytes = 1u << provider.ConsumeIntegralInRange(6, 12);
  options.tensorflow_index = provider.ConsumeBool();
  const Values values = take(provider);
  const auto prefix = folder.fresh("in") / "m";
  if (!write(prefix, values, options)) return 0;
  compare(prefix, values);
  for (const Format format : {Format::Safetensors, Format::Cairn, Format::TensorFlow}) {
    TransferOptions elsewhere;
    elsewhere.output = folder.fresh("out") / "m";
    elsewhere.allow_lossy = true;
    const auto done = convert(prefix, format, elsewhere);
    if (!done) continue;
    Values nameable = values;
    for (const std::string& name : done->not_nameable)
      fuzz::demand(nameable.erase(name) == 1, "what cannot be named was there");
    const char* suffix = format == Format::Safetensors ? ".safetensors" : "";
    compare(elsewhere.output.string() + suffix, nameable);
    if (format != Format::TensorFlow || !options.tensorflow_index) continue;
    std::filesystem::remove(prefix.string() + ".cairn");
    if (std::filesystem::exists(prefix.string() + ".index")) compare(prefix, nameable);
  }
  return 0;
}
