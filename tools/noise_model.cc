#include "noise_model.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "cairn/writer.h"

namespace cairn::tools {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;

std::uint64_t bytes_of(const TensorSpec& spec) {
  std::uint64_t bytes = element_bytes(spec.dtype);
  for (const std::int64_t dimension : spec.shape) bytes *= static_cast<std::uint64_t>(dimension);
  return bytes;
}

// Fills memory with xorshift64*'s numbers.
class Noise {
 public:
  void fill(std::span<std::uint64_t> words) {
    for (std::uint64_t& word : words) {
      state_ ^= state_ >> 12;
      state_ ^= state_ << 25;
      state_ ^= state_ >> 27;
      word = state_ * 0x2545f4914f6cdd1d;
    }
  }

 private:
  std::uint64_t state_ = 88172645463325252;
};

}  // namespace

std::vector<TensorSpec> gpt2_tensors() {
  constexpr std::int64_t kVocabulary = 50257;
  constexpr std::int64_t kPositions = 1024;
  constexpr std::int64_t kWidth = 768;
  std::vector<TensorSpec> specs;
  const auto add = [&specs](std::string name, std::vector<std::int64_t> shape) {
    specs.push_back({std::move(name), DType::Float32, std::move(shape)});
  };
  const auto add_pair = [&add](const std::string& name, std::vector<std::int64_t> weight) {
    const std::int64_t width = weight.back();
    add(name + "/w", std::move(weight));
    add(name + "/b", {width});
  };
  add("model/wte", {kVocabulary, kWidth});
  add("model/wpe", {kPositions, kWidth});
  for (int layer = 0; layer < 12; ++layer) {
    const std::string block = "model/h" + std::to_string(layer) + "/";
    add_pair(block + "ln_1", {kWidth});
    add_pair(block + "attn/c_attn", {kWidth, 3 * kWidth});
    add_pair(block + "attn/c_proj", {kWidth, kWidth});
    add_pair(block + "ln_2", {kWidth});
    add_pair(block + "mlp/c_fc", {kWidth, 4 * kWidth});
    add_pair(block + "mlp/c_proj", {4 * kWidth, kWidth});
  }
  add_pair("model/ln_f", {kWidth});
  return specs;
}

std::uint64_t size_bytes(const std::vector<TensorSpec>& specs) {
  std::uint64_t bytes = 0;
  for (const TensorSpec& spec : specs) bytes += bytes_of(spec);
  return bytes;
}

Result<void> write_noise(const std::filesystem::path& prefix,
                         const std::vector<TensorSpec>& specs) {
  auto writer = Writer::create(prefix, specs);
  if (!writer) return writer.error();
  Noise noise;
  std::vector<std::uint64_t> words(kChunkBytes / sizeof(std::uint64_t));
  for (const TensorSpec& spec : specs) {
    for (std::uint64_t left = bytes_of(spec); left > 0;) {
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left, kChunkBytes));
      // A tensor of few bytes costs few numbers: a payload may have 100,000 of them.
      noise.fill(
          std::span(words).first((size + sizeof(std::uint64_t) - 1) / sizeof(std::uint64_t)));
      const auto done = writer->append(spec.name, std::as_bytes(std::span(words)).first(size));
      if (!done) return done;
      left -= size;
    }
  }
  return writer->commit();
}

}  // namespace cairn::tools
