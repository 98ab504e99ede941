// TensorFlow's object graph, and paths through it: the path stands behind the last NUL.

#include "format/tensorflow/object_graph.h"

#include "fuzz.h"

using namespace cairn;
namespace tensorflow = cairn::format::tensorflow;

namespace {

void check_positions(const ObjectGraph& graph) {
  for (const auto& node : graph.nodes) {
    for (const auto& child : node.children)
      fuzz::demand(child.node < graph.nodes.size(), "a child is a node");
    for (const auto& slot : node.slots)
      fuzz::demand(slot.node < graph.nodes.size() && slot.variable < graph.nodes.size(),
                   "a slot's ends are nodes");
  }
}

void check_path(const ObjectGraph& graph, std::string_view path) {
  const auto parsed = tensorflow::parse_object_path(path);
  const auto built = tensorflow::checkpoint_key(parsed);
  fuzz::demand(built.size() <= 4 * path.size() + 64, "a key is about as long as its path");
  const auto keys = tensorflow::keys_of(graph, path);
  for (std::size_t i = 1; i < keys.size(); ++i)
    fuzz::demand(keys[i - 1] <= keys[i], "keys are sorted");
  const std::string_view paths[] = {path};
  if (const auto made = tensorflow::build_object_graph(paths)) {
    check_positions(made->graph);
    fuzz::demand(made->keys.size() == 1, "each path has a key");
    const auto found = tensorflow::keys_of(made->graph, path);
    fuzz::demand(found == made->keys, "a path is found in the graph that was made of it");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  const std::size_t nul = text.rfind('\0');
  const std::string path = nul == text.npos ? "" : text.substr(nul + 1);
  const auto graph = tensorflow::decode_object_graph(text.substr(0, nul));
  if (!graph) return 0;
  check_positions(*graph);
  check_path(*graph, path);
  const auto again = tensorflow::decode_object_graph(tensorflow::encode_object_graph(*graph));
  fuzz::demand(again, "what was encoded can be decoded");
  fuzz::demand(*again == *graph, "encoding and decoding change nothing");
  return 0;
}
