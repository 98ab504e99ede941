// usage: payloads DIR
//
// Makes the checkpoints of payload.h in DIR and prints a line for each:
// name, tensors, bytes, the tensor that is asked for alone.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cairn/cairn.h"
#include "payload.h"

namespace cairn::bench {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;

// The 148 tensors of the smallest GPT-2 (124 million parameters).
std::vector<TensorSpec> gpt2() {
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

std::string three_digits(int number) {
  const std::string digits = std::to_string(number);
  return std::string(3 - digits.size(), '0') + digits;
}

// 100,000 tensors of 256 bytes.
std::vector<TensorSpec> rows() {
  std::vector<TensorSpec> specs;
  for (int shard = 0; shard < 100; ++shard) {
    const std::string stem = "table/shard-" + three_digits(shard) + "/row-";
    for (int row = 0; row < 1000; ++row) {
      specs.push_back({stem + three_digits(row), DType::Float32, {64}});
    }
  }
  return specs;
}

std::uint64_t bytes_of(const TensorSpec& spec) {
  std::uint64_t bytes = element_bytes(spec.dtype);
  for (const std::int64_t dimension : spec.shape) bytes *= static_cast<std::uint64_t>(dimension);
  return bytes;
}

// Fills memory with xorshift64*'s numbers: bytes that no file system can compress or share.
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

Result<void> write(const std::string& prefix, const std::vector<TensorSpec>& specs) {
  auto writer = Writer::create(prefix, specs);
  if (!writer) return writer.error();
  Noise noise;
  std::vector<std::uint64_t> words(kChunkBytes / sizeof(std::uint64_t));
  for (const TensorSpec& spec : specs) {
    for (std::uint64_t left = bytes_of(spec); left > 0;) {
      const auto size = static_cast<std::size_t>(left < kChunkBytes ? left : kChunkBytes);
      const auto part = std::span(words).first(size / sizeof(std::uint64_t));
      noise.fill(part);
      const auto done = writer->append(spec.name, std::as_bytes(part));
      if (!done) return done;
      left -= size;
    }
  }
  return writer->commit();
}

// Gives the payload a second index, beside a second name of its shard.
Result<void> add_index(const std::string& source, Format format, const std::string& output) {
  TransferOptions options;
  options.output = output;
  options.link = Link::Hard;
  const auto done = export_index(source, format, options);
  if (!done) return done.error();
  return {};
}

Result<void> make(const std::string& directory, const Payload& payload,
                  const std::vector<TensorSpec>& specs) {
  const std::string prefix = cairn_path(directory, payload);
  const std::string linked = directory + "/safetensors/" + payload.name;
  auto done = write(prefix, specs);
  if (done) done = add_index(prefix, Format::TensorFlow, tensorflow_path(directory, payload));
  if (done) done = add_index(prefix, Format::Safetensors, linked);
  if (!done) return done;
  std::uint64_t bytes = 0;
  for (const TensorSpec& spec : specs) bytes += bytes_of(spec);
  std::printf("%s\t%zu\t%llu\t%s\n", payload.name, specs.size(),
              static_cast<unsigned long long>(bytes), payload.one_tensor);
  return {};
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  using namespace cairn::bench;
  if (argc != 2) {
    std::fputs("usage: payloads DIR\n", stderr);
    return 2;
  }
  auto done = make(argv[1], kPayloads[0], gpt2());
  if (done) done = make(argv[1], kPayloads[1], rows());
  if (done) return 0;
  std::fprintf(stderr, "payloads: %s\n", done.error().what.c_str());
  return 2;
}
