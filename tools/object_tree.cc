#include "object_tree.h"

#include <algorithm>
#include <map>
#include <utility>

namespace cairn::tools {
namespace {

// What a path shows of itself: a graph of n objects would else print up to n² bytes.
constexpr std::size_t kPathBytesMax = 200;

}  // namespace

ObjectTree::ObjectTree(const ObjectGraph& graph, Names names)
    : graph_(graph), names_(names), edges_(graph.nodes.size()), places_(graph.nodes.size()) {
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const auto& child : graph.nodes[i].children)
      edges_[i].push_back({child.name, kNone, child.node});
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const auto& slot : graph.nodes[i].slots)
      edges_[slot.variable].push_back({slot.name, i, slot.node});
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!places_[i].found) reach(i);
  }
}

bool ObjectTree::stands_at(std::size_t from, std::size_t edge) const {
  const Place& place = places_[edges_[from][edge].node];
  return place.parent == from && place.edge == edge;
}

std::string ObjectTree::label(const Edge& edge) const {
  const std::string name = shown(edge.name);
  if (edge.optimizer == kNone) return name;
  return ".OPTIMIZER_SLOT/" + path(edge.optimizer) + "/" + name;
}

std::string ObjectTree::path(std::size_t node) const {
  std::vector<std::string> names;
  std::size_t bytes = 0;
  while (places_[node].parent != kNone && bytes <= kPathBytesMax) {
    const Place& place = places_[node];
    const Edge& edge = edges_[place.parent][place.edge];
    const bool slot = edge.optimizer != kNone;
    names.push_back(slot ? ".OPTIMIZER_SLOT/…/" + shown(edge.name) : shown(edge.name));
    bytes += names.back().size() + 1;
    node = place.parent;
  }
  if (places_[node].parent != kNone) names.push_back("…");
  if (places_[node].parent == kNone && node != 0)
    names.push_back("(object " + std::to_string(node) + ")");
  std::string path;
  for (std::size_t i = names.size(); i > 0; --i) path += names[i - 1] + (i == 1 ? "" : "/");
  return path;
}

std::string ObjectTree::shown(std::string_view name) const {
  return names_ == Names::Escaped ? escaped_object_name(name) : std::string(name);
}

// Children first, so that a slot stands below its variable only where no path of names leads to it.
void ObjectTree::reach(std::size_t root) {
  roots_.push_back(root);
  places_[root].found = true;
  found_.push_back(root);
  follow_children();
  for (; slots_followed_ < found_.size(); ++slots_followed_) {
    const std::size_t from = found_[slots_followed_];
    for (std::size_t i = 0; i < edges_[from].size(); ++i) follow(from, i);
    follow_children();
  }
}

void ObjectTree::follow_children() {
  for (; children_followed_ < found_.size(); ++children_followed_) {
    const std::size_t from = found_[children_followed_];
    const std::size_t children = graph_.nodes[from].children.size();
    for (std::size_t i = 0; i < children; ++i) follow(from, i);
  }
}

void ObjectTree::follow(std::size_t from, std::size_t edge) {
  const std::size_t node = edges_[from][edge].node;
  if (places_[node].found) return;
  places_[node] = {from, edge, true};
  found_.push_back(node);
}

ObjectGraph graph_of_names(const Checkpoint& checkpoint) {
  ObjectGraph graph;
  graph.nodes.emplace_back();
  std::map<std::pair<std::size_t, std::string_view>, std::size_t> children;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const std::string_view name = checkpoint.tensor_at(i).name();
    std::size_t node = 0;
    for (std::size_t begin = 0; begin <= name.size();) {
      const std::size_t end = std::min(name.find('/', begin), name.size());
      const std::string_view part = name.substr(begin, end - begin);
      const auto [found, is_new] = children.try_emplace({node, part}, graph.nodes.size());
      if (is_new) {
        graph.nodes[node].children.push_back({std::string(part), found->second});
        graph.nodes.emplace_back();
      }
      node = found->second;
      begin = end + 1;
    }
    graph.nodes[node].attributes.push_back({"VARIABLE_VALUE", {}, std::string(name)});
  }
  return graph;
}

}  // namespace cairn::tools
