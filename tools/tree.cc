#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/object_graph.h"
#include "object_tree.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Print the objects of a TensorFlow 2 checkpoint as a tree. Each variable is printed with\n"
    "dtype, shape and full name. An object with several paths is printed at its shortest\n"
    "path; '=' refers to that path at the others. For a checkpoint without objects, tensor\n"
    "names are printed as a tree, split at each '/'.";

constexpr const char* kFooter =
    "Exit status: 0 the tree was printed, 2 it was not (no checkpoint, a damaged object\n"
    "graph).\n\n"
    "Names are escaped as in an object path ('.' becomes '..', '/' becomes '.S'). `cairn cat`\n"
    "takes an object path: the names from the top, joined by '/'. Below 32 levels, a number\n"
    "shows the depth instead of spaces.\n\n"
    "Examples:\n"
    "  cairn tree saved/ckpt-6\n"
    "  cairn tree exported_model --json | jq -r '.nodes[].attributes[].key'";

constexpr std::size_t kIndentedMax = 32;
constexpr std::string_view kVariableValue = "VARIABLE_VALUE";

// Which tensors each attribute of each object has. One that several attributes' keys begin is given
// to the first alone, so that a hostile graph prints no more than it holds.
class Owned {
 public:
  Owned(const Checkpoint& checkpoint, const ObjectGraph& graph) {
    for (const auto& node : graph.nodes) {
      by_node_.emplace_back();
      for (const auto& attribute : node.attributes) add(checkpoint, attribute);
    }
    for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
      const Tensor tensor = checkpoint.tensor_at(i);
      if (tensor.name() != kObjectGraphName && !seen_.contains(tensor.name()))
        unclaimed_.push_back(tensor);
    }
  }

  std::span<const Tensor> of(std::size_t node, std::size_t attribute) const {
    return by_node_[node][attribute];
  }
  std::size_t tensor_count() const { return seen_.size(); }
  std::span<const Tensor> unclaimed() const { return unclaimed_; }  // the graph aside

 private:
  void add(const Checkpoint& checkpoint, const ObjectGraph::Attribute& attribute) {
    std::vector<Tensor>& tensors = by_node_.back().emplace_back();
    const auto found = tensors_of(checkpoint, attribute);
    if (!found) return;
    for (const Tensor& tensor : *found) {
      if (seen_.insert(tensor.name()).second || tensor.name() == attribute.key)
        tensors.push_back(tensor);
    }
  }

  std::vector<std::vector<std::vector<Tensor>>> by_node_;
  std::unordered_set<std::string_view> seen_;
  std::vector<Tensor> unclaimed_;
};

struct Drawing {
  const Checkpoint& checkpoint;
  const ObjectGraph& graph;
  const ObjectTree& tree;
  const Owned& owned;
  bool object_based;
};

std::string indented(std::size_t depth, const std::string& text) {
  const std::string mark = depth > kIndentedMax ? fmt::format("({}) ", depth) : "";
  return std::string(2 * std::min(depth, kIndentedMax), ' ') + mark + text + "\n";
}

// "float32 [2,3] (dense/kernel)".
std::string described(const Tensor& tensor, const ObjectGraph::Attribute& attribute) {
  const std::string what =
      fmt::format("{} [{}]", tensor.dtype_name(), fmt::join(tensor.shape(), ","));
  if (attribute.full_name.empty()) return what;
  return fmt::format("{} ({})", what, safe(attribute.full_name));
}

// What follows the attribute's name in that of the tensor: "-keys" of a table.
std::string_view rest_of_name(const Tensor& tensor, const ObjectGraph::Attribute& attribute) {
  return tensor.name().substr(std::min(attribute.key.size(), tensor.name().size()));
}

// An attribute of the object on a line for each of its tensors.
void print_attribute(const Drawing& drawing, std::size_t node, std::size_t attribute,
                     std::size_t depth) {
  const auto& what = drawing.graph.nodes[node].attributes[attribute];
  const std::string name = ".ATTRIBUTES/" + safe(escaped_object_name(what.name));
  const auto tensors = drawing.owned.of(node, attribute);
  for (const Tensor& tensor : tensors) {
    const std::string rest = safe(rest_of_name(tensor, what));
    print(indented(depth, name + rest + "  " + described(tensor, what)));
  }
  if (tensors.empty())
    print(indented(depth, fmt::format("{}  no tensor \"{}\"", name, safe(what.key))));
}

// The object itself: a variable on one line, other attributes on lines below it.
void print_object(const Drawing& drawing, std::size_t node, std::size_t depth,
                  const std::string& label) {
  const auto& attributes = drawing.graph.nodes[node].attributes;
  std::size_t shown = attributes.size();  // the attribute on the object's own line
  std::string line = label.empty() ? "\"\"" : safe(label);
  for (std::size_t i = 0; i < attributes.size() && shown == attributes.size() && node != 0; ++i) {
    const auto tensors = drawing.owned.of(node, i);
    if (attributes[i].name != kVariableValue || tensors.size() != 1) continue;
    line += "  " + described(tensors.front(), attributes[i]);
    shown = i;
  }
  if (node != 0) print(indented(depth, line));
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    if (i != shown) print_attribute(drawing, node, i, node == 0 ? 0 : depth + 1);
  }
}

// Everything below an object, which has been printed. `depth` is that of what hangs on it.
void print_below(const Drawing& drawing, std::size_t root, std::size_t depth) {
  struct Step {
    std::size_t node;
    std::size_t edge;
  };
  std::vector<Step> way{{root, 0}};
  while (!way.empty()) {
    const auto [from, edge] = way.back();
    const auto edges = drawing.tree.edges(from);
    if (edge == edges.size()) {
      way.pop_back();
      continue;
    }
    ++way.back().edge;
    const std::size_t node = edges[edge].node;
    const std::size_t level = depth + way.size() - 1;
    std::string label = drawing.tree.label(edges[edge]);
    if (drawing.tree.stands_at(from, edge)) {
      print_object(drawing, node, level, label);
      way.push_back({node, 0});
    } else {
      const std::string path = drawing.tree.path(node);
      print(indented(level, safe(label) + "  = " + (path.empty() ? "(root)" : safe(path))));
    }
  }
}

void print_text(const Drawing& drawing) {
  for (const std::size_t root : drawing.tree.roots()) {
    const bool named = root != 0;
    print_object(drawing, root, 0, named ? fmt::format("(object {})", root) : "");
    print_below(drawing, root, named ? 1 : 0);
  }
  if (!drawing.object_based) {
    print(fmt::format("{}: name-based, without objects: {} by their names\n",
                      safe(drawing.checkpoint.prefix().native()),
                      count_of(drawing.checkpoint.tensor_count(), "tensor")));
    return;
  }
  for (const Tensor& tensor : drawing.owned.unclaimed())
    print(safe(tensor.name()) + "  of no object\n");
  print(fmt::format("{}: object-based, {} with {}\n", safe(drawing.checkpoint.prefix().native()),
                    count_of(drawing.graph.nodes.size(), "object"),
                    count_of(drawing.owned.tensor_count(), "tensor")));
}

void add_attribute(Json& json, const ObjectGraph::Attribute& attribute,
                   std::span<const Tensor> tensors) {
  json.begin_object().text("name", attribute.name).text("key", attribute.key);
  json.text("full_name", attribute.full_name).begin_array("tensors");
  for (const Tensor& tensor : tensors) {
    json.begin_object().text("name", tensor.name()).text("dtype", tensor.dtype_name());
    json.begin_array("shape");
    for (const std::int64_t dimension : tensor.shape()) json.element(dimension);
    json.end_array().end_object();
  }
  json.end_array().end_object();
}

void add_node(Json& json, const Drawing& drawing, std::size_t id) {
  const ObjectGraph::Node& node = drawing.graph.nodes[id];
  const std::size_t parent = drawing.tree.parent(id);
  json.begin_object().number("id", std::uint64_t{id});
  parent == ObjectTree::kNone ? json.null("parent") : json.number("parent", std::uint64_t{parent});
  json.begin_array("children");
  for (const auto& child : node.children)
    json.begin_object()
        .text("name", child.name)
        .number("node", std::uint64_t{child.node})
        .end_object();
  json.end_array().begin_array("attributes");
  for (std::size_t i = 0; i < node.attributes.size(); ++i)
    add_attribute(json, node.attributes[i], drawing.owned.of(id, i));
  json.end_array().begin_array("slots");
  for (const auto& slot : node.slots) {
    json.begin_object().text("name", slot.name);
    json.number("variable", std::uint64_t{slot.variable});
    json.number("node", std::uint64_t{slot.node}).end_object();
  }
  json.end_array().end_object();
}

void print_json(const Drawing& drawing) {
  Json json;
  json.begin_object().text("prefix", drawing.checkpoint.prefix().native());
  json.flag("object_based", drawing.object_based).begin_array("warnings");
  for (const std::string& warning : drawing.checkpoint.warnings()) json.element(warning);
  json.end_array().begin_array("nodes");
  for (std::size_t i = 0; i < drawing.graph.nodes.size(); ++i) add_node(json, drawing, i);
  json.end_array().begin_array("unclaimed");
  for (const Tensor& tensor : drawing.owned.unclaimed()) json.element(tensor.name());
  json.end_array().end_object().finish();
}

}  // namespace

int tree(Arguments arguments) {
  std::string path;
  bool json = false;
  CommandLine line("cairn tree", kDescription, kFooter);
  bool follow_links = false;
  add_path(line, path);
  add_json(line, json);
  add_follow_links(line, follow_links);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto checkpoint = open_or_complain(path, follow_links);
  if (!checkpoint) return kFailed;
  const auto stored = read_object_graph(*checkpoint);
  if (!stored && stored.error().code != Code::NotFound) {
    complain(stored.error());
    return kFailed;
  }
  const ObjectGraph graph = stored ? *stored : graph_of_names(*checkpoint);
  const ObjectTree tree(graph, stored ? ObjectTree::Names::Escaped : ObjectTree::Names::Plain);
  const Owned owned(*checkpoint, graph);
  const Drawing drawing{*checkpoint, graph, tree, owned, stored.has_value()};
  json ? print_json(drawing) : print_text(drawing);
  return kYes;
}

}  // namespace cairn::tools
