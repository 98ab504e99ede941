#include "contents.h"

#include <charconv>
#include <random>
#include <span>

#include "host.h"

namespace power {
namespace {

Value random_value(cairn::DType dtype, std::vector<std::int64_t> shape, std::mt19937_64& source) {
  std::size_t size_bytes = cairn::element_bytes(dtype);
  for (const std::int64_t extent : shape) size_bytes *= static_cast<std::size_t>(extent);
  Value value{dtype, std::move(shape), std::vector<std::byte>(size_bytes), {}};
  for (std::byte& byte : value.bytes) byte = static_cast<std::byte>(source());
  return value;
}

}  // namespace

Contents made(std::uint64_t seed) {
  std::mt19937_64 source(seed);
  const auto varied = static_cast<std::int64_t>(seed % 7);
  Contents contents;
  contents["embedding"] = random_value(cairn::DType::Float32, {50'000 + varied}, source);
  contents["layer/bias"] = random_value(cairn::DType::Int16, {3, 1 + varied}, source);
  contents["step"] = random_value(cairn::DType::Int64, {}, source);
  contents["vocabulary"] = {
      cairn::DType::String, {2}, {}, {"seed", std::to_string(seed * 1'000'003)}};
  return contents;
}

cairn::Result<Contents> contents_of(const cairn::Checkpoint& checkpoint) {
  Contents contents;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const cairn::Tensor tensor = checkpoint.tensor_at(i);
    Value& value = contents[std::string(tensor.name())];
    value.dtype = tensor.dtype();
    value.shape.assign(tensor.shape().begin(), tensor.shape().end());
    if (tensor.dtype() == cairn::DType::String) {
      const auto strings = tensor.strings();
      if (!strings) return strings.error();
      value.strings.assign(strings->begin(), strings->end());
      continue;
    }
    const auto size_bytes = tensor.read_bytes();
    if (!size_bytes) return size_bytes.error();
    value.bytes.resize(*size_bytes);
    if (const auto done = tensor.read(value.bytes); !done) return done.error();
  }
  return contents;
}

Named::Named(const Contents& contents) {
  strings_.reserve(contents.size());  // the tensors borrow from it
  for (const auto& [name, value] : contents) {
    const auto& strings = strings_.emplace_back(value.strings.begin(), value.strings.end());
    tensors_.push_back({{name, value.dtype, value.shape}, value.bytes, strings});
  }
}

Contents described(std::string_view description, const std::filesystem::path& golden) {
  const auto [kind, rest] = [&] {
    const std::size_t colon = description.find(':');
    if (colon == description.npos) die("no contents: " + std::string(description));
    return std::pair(description.substr(0, colon), description.substr(colon + 1));
  }();
  if (kind == "made") {
    std::uint64_t seed = 0;
    std::from_chars(rest.data(), rest.data() + rest.size(), seed);
    return made(seed);
  }
  const auto checkpoint = cairn::Checkpoint::open(golden / rest);
  if (!checkpoint) die(checkpoint.error().what);
  auto contents = contents_of(*checkpoint);
  if (!contents) die(contents.error().what);
  return *std::move(contents);
}

}  // namespace power
