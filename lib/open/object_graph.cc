// The object graph is a tensor like any other, so an open checkpoint of any format may hold one:
// what was converted or imported from TensorFlow keeps it.

#include "cairn/object_graph.h"

#include <algorithm>
#include <ranges>

#include "cairn/checkpoint.h"
#include "format/quoted.h"
#include "format/tensorflow/object_graph.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"

namespace cairn {
namespace {

namespace tensorflow = format::tensorflow;

Error error_in(const Checkpoint& checkpoint, Code code, const std::string& what) {
  return {code, 0,
          checkpoint.prefix().string() + ": " + std::string(kObjectGraphName) + " " + what};
}

// Not by Checkpoint::tensor, which looks for the nearest names where there is none: a graph may
// name many that are not there.
std::vector<Tensor> stored_under(const Checkpoint& checkpoint, const std::string& key) {
  const auto positions = std::views::iota(std::size_t{0}, checkpoint.tensor_count());
  const auto name_at = [&](std::size_t position) { return checkpoint.tensor_at(position).name(); };
  auto at = std::ranges::lower_bound(positions, std::string_view(key), {}, name_at);
  if (at != positions.end() && name_at(*at) == key) return {checkpoint.tensor_at(*at)};
  std::vector<Tensor> tensors;
  for (; !key.empty() && at != positions.end() && name_at(*at).starts_with(key); ++at)
    tensors.push_back(checkpoint.tensor_at(*at));
  return tensors;
}

// A few of the keys, for a sentence.
std::string listed(const std::vector<std::string>& keys) {
  const auto quote = [](const std::string& key) { return format::quoted(key); };
  return internal::first_few(keys | std::views::transform(quote), 5);
}

std::string ambiguous(std::string_view path, const std::vector<std::string>& keys) {
  return format::quoted(path) + " fits " + std::to_string(keys.size()) +
         " tensors; use one of these names: " + listed(keys);
}

// What a mistyped path would have been the key of: the nearest names are near to this, not to the
// path.
std::string likely_key(std::string_view path) {
  tensorflow::ObjectPath parts = tensorflow::parse_object_path(path);
  if (!parts.attribute.empty()) return std::string(path);
  parts.attribute = tensorflow::kVariableValue;
  return tensorflow::checkpoint_key(parts);
}

}  // namespace

Result<ObjectGraph> read_object_graph(const Checkpoint& checkpoint) noexcept {
  return at_boundary([&]() -> Result<ObjectGraph> {
    if (!checkpoint.contains(kObjectGraphName))
      return error_in(checkpoint, Code::NotFound,
                      "does not exist: the checkpoint is name-based and has no object graph");
    const auto tensor = checkpoint.tensor(kObjectGraphName);
    if (!tensor) return tensor.error();
    if (tensor->dtype() != DType::String || !tensor->shape().empty())
      return error_in(checkpoint, Code::Unsupported, "is not a scalar string");
    const auto& opened = internal::OpenCheckpoint::of(checkpoint);
    CAIRN_TRY(position, opened.find(kObjectGraphName));
    CAIRN_TRY(strings, opened.copy_strings(position));
    auto graph = tensorflow::decode_object_graph(strings.values[0]);
    if (!graph) return error_in(checkpoint, graph.error().code, graph.error().what);
    return *std::move(graph);
  });
}

Result<std::string> tensor_key(const ObjectGraph& graph, std::string_view path) noexcept {
  return at_boundary([&]() -> Result<std::string> {
    if (graph.nodes.empty()) return Error{Code::NotFound, 0, "the object graph has no nodes"};
    std::vector<std::string> keys = tensorflow::keys_of(graph, path);
    if (keys.size() == 1) return std::move(keys.front());
    if (!keys.empty()) return Error{Code::Invalid, 0, ambiguous(path, keys)};
    return Error{Code::NotFound, 0,
                 "no tensor has the object path or full name " + format::quoted(path)};
  });
}

Result<std::vector<Tensor>> tensors_of(const Checkpoint& checkpoint,
                                       const ObjectGraph::Attribute& attribute) noexcept {
  return at_boundary(
      [&]() -> Result<std::vector<Tensor>> { return stored_under(checkpoint, attribute.key); });
}

Result<Tensor> find_tensor(const Checkpoint& checkpoint, std::string_view name) noexcept {
  return at_boundary([&]() -> Result<Tensor> {
    if (checkpoint.contains(name)) return checkpoint.tensor(name);
    const auto graph = read_object_graph(checkpoint);
    if (!graph && graph.error().code == Code::NotFound) return checkpoint.tensor(name);
    if (!graph) return graph.error();
    const auto key = tensor_key(*graph, name);
    if (!key && key.error().code == Code::NotFound) return checkpoint.tensor(likely_key(name));
    if (!key) {
      return Error{key.error().code, 0, checkpoint.prefix().string() + ": " + key.error().what};
    }
    const std::vector<Tensor> tensors = stored_under(checkpoint, *key);
    if (tensors.empty()) return checkpoint.tensor(*key);
    if (tensors.size() == 1) return tensors.front();
    std::vector<std::string> names;
    for (const Tensor& tensor : tensors) names.emplace_back(tensor.name());
    return Error{Code::Invalid, 0, checkpoint.prefix().string() + ": " + ambiguous(name, names)};
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
