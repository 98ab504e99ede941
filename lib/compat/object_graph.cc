// The object graph is a tensor like any other, so an open checkpoint of any format may hold one:
// what was converted or imported from TensorFlow keeps it.

#include "cairn/object_graph.h"

#include <algorithm>

#include "cairn/checkpoint.h"
#include "format/quoted.h"
#include "format/tensorflow/object_graph.h"
#include "lib/try.h"

namespace cairn {
namespace {

namespace tensorflow = format::tensorflow;

Error error_in(const Checkpoint& checkpoint, Code code, const std::string& what) {
  return {code, 0,
          checkpoint.prefix().string() + ": " + std::string(kObjectGraphName) + " " + what};
}

// A few of the keys, for a sentence.
std::string listed(const std::vector<std::string>& keys) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, keys.size()); ++i)
    text += (i == 0 ? "" : ", ") + format::quoted(keys[i]);
  return text + (keys.size() > kShown ? ", …" : "");
}

}  // namespace

Result<ObjectGraph> read_object_graph(const Checkpoint& checkpoint) noexcept {
  return at_boundary([&]() -> Result<ObjectGraph> {
    const auto tensor = checkpoint.tensor(kObjectGraphName);
    if (!tensor && tensor.error().code == Code::NotFound)
      return error_in(checkpoint, Code::NotFound, "is not there: the checkpoint is name-based");
    if (!tensor) return tensor.error();
    if (tensor->dtype() != DType::String || !tensor->shape().empty())
      return error_in(checkpoint, Code::Unsupported, "is no scalar string");
    CAIRN_TRY(strings, tensor->strings());
    auto graph = tensorflow::decode_object_graph(strings[0]);
    if (!graph) return error_in(checkpoint, graph.error().code, graph.error().what);
    return *std::move(graph);
  });
}

Result<std::string> tensor_key(const ObjectGraph& graph, std::string_view path) noexcept {
  return at_boundary([&]() -> Result<std::string> {
    if (graph.nodes.empty()) return Error{Code::NotFound, 0, "the object graph has no nodes"};
    std::vector<std::string> keys = tensorflow::keys_of(graph, path);
    if (keys.size() == 1) return std::move(keys.front());
    if (keys.empty()) {
      return Error{Code::NotFound, 0,
                   "no tensor has the object path or full name " + format::quoted(path)};
    }
    return Error{Code::Invalid, 0,
                 format::quoted(path) + " may mean any of " + std::to_string(keys.size()) +
                     " tensors: " + listed(keys)};
  });
}

Result<Tensor> find_tensor(const Checkpoint& checkpoint, std::string_view name) noexcept {
  return at_boundary([&]() -> Result<Tensor> {
    auto stored = checkpoint.tensor(name);
    if (stored || stored.error().code != Code::NotFound) return stored;
    const auto graph = read_object_graph(checkpoint);
    if (!graph && graph.error().code == Code::NotFound) return stored;
    if (!graph) return graph.error();
    const auto key = tensor_key(*graph, name);
    if (!key && key.error().code == Code::NotFound) return stored;
    if (!key) {
      return Error{key.error().code, 0, checkpoint.prefix().string() + ": " + key.error().what};
    }
    return checkpoint.tensor(*key);
  });
}

Result<ObjectKeys> object_keys(std::span<const std::string_view> paths) noexcept {
  return at_boundary([&]() -> Result<ObjectKeys> {
    if (paths.empty()) return Error{Code::Invalid, 0, "an object graph needs a path"};
    auto built = tensorflow::build_object_graph(paths);
    if (!built) return Error{built.error().code, 0, built.error().what};
    return ObjectKeys{std::move(built->keys), tensorflow::encode_object_graph(built->graph)};
  });
}

}  // namespace cairn
