// usage: payloads DIR NAME…
//
// Makes these checkpoints in DIR and prints a line for each: name, tensors, bytes, the tensor that
// is asked for alone. Every byte is written and on the disk; no checkpoint is sparse.
//
//     gpt2       the 148 tensors of the smallest GPT-2, 498 MB
//     lora       1,000 tensors of 4 KiB
//     many       100,000 tensors of 256 bytes; many-N has N
//     llm        the 291 tensors of an 8-billion-parameter Llama, one byte a parameter: 8 GB;
//                llm-N has them N times narrower, llm-28 10 MB

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "cairn/cairn.h"
#include "payload.h"
#include "tools/noise_model.h"

namespace cairn::bench {
namespace {

std::string digits(std::int64_t number, std::size_t count) {
  const std::string text = std::to_string(number);
  return std::string(count - text.size(), '0') + text;
}

std::vector<TensorSpec> lora() {
  std::vector<TensorSpec> specs;
  for (int layer = 0; layer < 250; ++layer) {
    const std::string block = "adapter/layer-" + digits(layer, 3) + "/";
    for (const char* part : {"query/a", "query/b", "value/a", "value/b"}) {
      specs.push_back({block + part, DType::Float32, {1024}});
    }
  }
  return specs;
}

// Tensors of 256 bytes.
std::vector<TensorSpec> many(std::int64_t count) {
  std::vector<TensorSpec> specs;
  for (std::int64_t i = 0; i < count; ++i) {
    std::string name = "table/shard-" + digits(i / 1000, 3) + "/row-" + digits(i % 1000, 3);
    specs.push_back({std::move(name), DType::Float32, {64}});
  }
  return specs;
}

// The tensors of Llama 3 8B. `narrower` divides each width, so the bytes by its square.
std::vector<TensorSpec> llm(std::int64_t narrower) {
  const std::int64_t vocabulary = 128256 / narrower;
  const std::int64_t width = 4096 / narrower;
  const std::int64_t heads = 1024 / narrower;
  const std::int64_t inner = 14336 / narrower;
  std::vector<TensorSpec> specs;
  const auto add = [&specs](std::string name, std::vector<std::int64_t> shape) {
    specs.push_back({std::move(name), DType::Int8, std::move(shape)});
  };
  add("model.embed_tokens.weight", {vocabulary, width});
  for (int layer = 0; layer < 32; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    add(block + "input_layernorm.weight", {width});
    add(block + "self_attn.q_proj.weight", {width, width});
    add(block + "self_attn.k_proj.weight", {heads, width});
    add(block + "self_attn.v_proj.weight", {heads, width});
    add(block + "self_attn.o_proj.weight", {width, width});
    add(block + "post_attention_layernorm.weight", {width});
    add(block + "mlp.gate_proj.weight", {inner, width});
    add(block + "mlp.up_proj.weight", {inner, width});
    add(block + "mlp.down_proj.weight", {width, inner});
  }
  add("model.norm.weight", {width});
  add("lm_head.weight", {vocabulary, width});
  return specs;
}

// Empty: no payload has that name.
std::vector<TensorSpec> tensors_of(const std::string& name) {
  if (name == "gpt2") return tools::gpt2_tensors();
  if (name == "lora") return lora();
  const std::size_t dash = name.find('-');
  const std::string stem = name.substr(0, dash);
  const std::int64_t number = dash == std::string::npos ? 0 : std::atoll(name.c_str() + dash + 1);
  if (stem == "many") return many(dash == std::string::npos ? 100'000 : number);
  if (stem == "llm") return llm(dash == std::string::npos ? 1 : std::max<std::int64_t>(number, 1));
  return {};
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

Result<void> make(const Subject& subject) {
  const std::vector<TensorSpec> specs = tensors_of(subject.payload);
  if (specs.empty()) return Error{Code::NotFound, 0, subject.payload + " is no payload"};
  const std::string linked = subject.directory + "/safetensors/" + subject.payload;
  auto done = tools::write_noise(subject.cairn(), specs);
  if (done) done = add_index(subject.cairn(), Format::TensorFlow, subject.tensorflow());
  if (done) done = add_index(subject.cairn(), Format::Safetensors, linked);
  if (!done) return done;
  const auto checkpoint = Checkpoint::open(subject.cairn());
  if (!checkpoint) return checkpoint.error();
  std::printf("%s\t%zu\t%llu\t%s\n", subject.payload.c_str(), specs.size(),
              static_cast<unsigned long long>(tools::size_bytes(specs)),
              one_tensor(*checkpoint).c_str());
  return {};
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: payloads DIR NAME...\n", stderr);
    return 2;
  }
  for (int i = 2; i < argc; ++i) {
    const auto done = cairn::bench::make({argv[1], argv[i]});
    if (done) continue;
    std::fprintf(stderr, "payloads: %s\n", done.error().what.c_str());
    return 2;
  }
}
