// OpenVINO in C++, with the weights of a Cairn checkpoint: the vectors of sentences, by MiniLM.
//
// The weights are inputs of the graph (minilm.py makes it). Each is replaced by a Constant over the
// mapped file. A Constant takes an owner of its memory: here the Checkpoint, so that the mapping
// lives as long as the last Constant, in whatever model or plugin that is.
//
// usage: embed GRAPH.onnx CHECKPOINT      token ids on standard input, one sentence a line

#include <cairn/cairn.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <openvino/op/constant.hpp>
#include <openvino/openvino.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Failed {
  std::string what;
};

ov::element::Type type_of(const cairn::Tensor& tensor) {
  switch (tensor.dtype()) {
    case cairn::DType::Float32:
      return ov::element::f32;
    case cairn::DType::Float16:
      return ov::element::f16;
    case cairn::DType::Bfloat16:
      return ov::element::bf16;
    case cairn::DType::Int64:
      return ov::element::i64;
    default:
      throw Failed{std::string(tensor.name()) + ": " + std::string(tensor.dtype_name()) +
                   " is not one of the dtypes of this example"};
  }
}

std::shared_ptr<ov::Node> constant_of(const std::shared_ptr<cairn::Checkpoint>& checkpoint,
                                      const ov::op::v0::Parameter& parameter) {
  auto tensor = checkpoint->tensor(parameter.get_friendly_name());
  if (!tensor) throw Failed{tensor.error().what};
  const ov::Shape shape(tensor->shape().begin(), tensor->shape().end());
  const auto type = type_of(*tensor);
  if (type != parameter.get_element_type() ||
      parameter.get_partial_shape() != ov::PartialShape(shape)) {
    throw Failed{std::string(tensor->name()) + ": the graph declares another dtype or shape"};
  }
  auto bytes = tensor->bytes();  // the first use compares them with their checksum
  if (!bytes) throw Failed{bytes.error().what};
  auto made = std::make_shared<ov::op::v0::Constant>(type, shape, bytes->data(), checkpoint);
  made->set_friendly_name(parameter.get_friendly_name());
  return made;
}

// The model with its weights, which keep the checkpoint open; the caller need not.
std::shared_ptr<ov::Model> model_of(ov::Core& core, const std::string& graph, const char* path) {
  auto opened = cairn::Checkpoint::open(path);
  if (!opened) throw Failed{opened.error().what};
  const auto checkpoint = std::make_shared<cairn::Checkpoint>(*std::move(opened));
  auto model = core.read_model(graph);
  const auto inputs = model->get_parameters();
  for (const auto& parameter : inputs) {
    if (!checkpoint->contains(parameter->get_friendly_name())) continue;
    parameter->output(0).replace(constant_of(checkpoint, *parameter)->output(0));
    model->remove_parameter(parameter);
  }
  return model;
}

// Lines of token ids, filled up with zeros to the longest.
std::pair<ov::Tensor, ov::Tensor> read_tokens() {
  std::vector<std::vector<std::int64_t>> sentences;
  std::size_t longest = 0;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    auto& ids = sentences.emplace_back();
    for (std::int64_t id; words >> id;) ids.push_back(id);
    longest = std::max(longest, ids.size());
  }
  ov::Tensor ids(ov::element::i64, {sentences.size(), longest});
  ov::Tensor mask(ov::element::i64, ids.get_shape());
  std::fill_n(ids.data<std::int64_t>(), ids.get_size(), 0);
  std::fill_n(mask.data<std::int64_t>(), mask.get_size(), 0);
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    std::copy(sentences[i].begin(), sentences[i].end(), ids.data<std::int64_t>() + i * longest);
    std::fill_n(mask.data<std::int64_t>() + i * longest, sentences[i].size(), 1);
  }
  return {ids, mask};
}

void embed(const char* graph, const char* path) {
  ov::Core core;
  auto compiled = core.compile_model(model_of(core, graph, path), "CPU",
                                     ov::hint::inference_precision(ov::element::f32));
  auto request = compiled.create_infer_request();
  const auto [ids, mask] = read_tokens();
  request.set_tensor("ids", ids);
  request.set_tensor("mask", mask);
  request.infer();
  const auto vectors = request.get_tensor("vectors");
  const auto* value = vectors.data<float>();
  for (std::size_t i = 0; i < vectors.get_size(); ++i) {
    const bool last = (i + 1) % vectors.get_shape()[1] == 0;
    std::printf("%.9g%c", static_cast<double>(value[i]), last ? '\n' : ' ');  // all bits of it
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: embed GRAPH.onnx CHECKPOINT <TOKENS\n");
    return 2;
  }
  try {
    embed(argv[1], argv[2]);
    return 0;
  } catch (const Failed& failed) {
    std::fprintf(stderr, "embed: %s\n", failed.what.c_str());
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "embed: %s\n", failed.what());
  }
  return 1;
}
