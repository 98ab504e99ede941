#include "format/tensorflow/object_graph.h"

// Paths through an object graph, and the keys that TensorFlow makes of them. Reading follows the
// keys that the graph says; they are composed for writing alone.

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <simdjson.h>

#include "format/quoted.h"

namespace cairn::format::tensorflow {
namespace {

constexpr std::string_view kAttributes = ".ATTRIBUTES/";
constexpr std::string_view kSlots = ".OPTIMIZER_SLOT";

// Where ".ATTRIBUTES/" begins, a name of its own; npos: nowhere.
std::size_t find_attributes(std::string_view path) {
  if (path.starts_with(kAttributes)) return 0;
  const std::size_t slash = path.find("/" + std::string(kAttributes));
  return slash == std::string_view::npos ? slash : slash + 1;
}

std::optional<std::size_t> child_of(const ObjectGraph::Node& node, std::string_view name) {
  const auto found = std::ranges::find(node.children, name, &ObjectGraph::Child::name);
  if (found == node.children.end()) return std::nullopt;
  return found->node;
}

// The node to which the names lead from the root.
std::optional<std::size_t> walk(const ObjectGraph& graph, std::span<const std::string> names) {
  std::size_t node = 0;
  for (const std::string& name : names) {
    const auto next = child_of(graph.nodes[node], name);
    if (!next) return std::nullopt;
    node = *next;
  }
  return node;
}

// The slot variable of "VARIABLE/.OPTIMIZER_SLOT/OPTIMIZER/NAME".
std::optional<std::size_t> slot_at(const ObjectGraph& graph, std::span<const std::string> names) {
  const auto mark = static_cast<std::size_t>(std::ranges::find(names, kSlots) - names.begin());
  if (mark + 2 > names.size()) return std::nullopt;
  const auto variable = walk(graph, names.first(mark));
  const auto optimizer = walk(graph, names.subspan(mark + 1, names.size() - mark - 2));
  if (!variable || !optimizer) return std::nullopt;
  for (const ObjectGraph::Slot& slot : graph.nodes[*optimizer].slots) {
    if (slot.variable == *variable && slot.name == names.back()) return slot.node;
  }
  return std::nullopt;
}

// Adds the keys of the attributes that are meant: the one that is named, else the variable's value,
// else all. Where none has the name, one that it begins with: a table's attribute "table" stands
// for tensors whose names end in "table-keys" and "table-values".
void add_meant(std::set<std::string>& keys, const ObjectGraph::Node& node, std::string_view named) {
  const auto has = [&](std::string_view name) {
    return std::ranges::find(node.attributes, name, &ObjectGraph::Attribute::name) !=
           node.attributes.end();
  };
  if (named.empty() && has(kVariableValue)) named = kVariableValue;
  const bool exactly = has(named);
  for (const auto& attribute : node.attributes) {
    if (named.empty() || attribute.name == named) {
      keys.insert(attribute.key);
    } else if (!exactly && !attribute.name.empty() && named.starts_with(attribute.name)) {
      keys.insert(attribute.key + escaped_object_name(named.substr(attribute.name.size())));
    }
  }
}

// Grows level by level, so that the nodes come in breadth-first order without a queue.
class Builder {
 public:
  explicit Builder(std::size_t paths) : at_(paths) { graph_.nodes.emplace_back(); }

  // Goes one name further on this path.
  void step(std::size_t path, const std::string& name) {
    const auto [found, is_new] = nodes_.try_emplace({at_[path], name}, graph_.nodes.size());
    if (is_new) {
      graph_.nodes[at_[path]].children.push_back({name, found->second});
      graph_.nodes.emplace_back();
    }
    at_[path] = found->second;
  }

  void attach(std::size_t path, ObjectGraph::Attribute attribute) {
    graph_.nodes[at_[path]].attributes.push_back(std::move(attribute));
  }

  // Every node here lies on the way to an attribute.
  ObjectGraph finish() && {
    for (ObjectGraph::Node& node : graph_.nodes) node.has_checkpoint_values = true;
    return std::move(graph_);
  }

 private:
  ObjectGraph graph_;
  std::vector<std::size_t> at_;  // the node that each path has reached
  std::map<std::pair<std::size_t, std::string>, std::size_t> nodes_;  // by parent and name
};

DecodeError invalid(std::string_view path, const std::string& why) {
  return {Code::Invalid, 0, "the object path " + format::quoted(path) + " " + why};
}

// The paths in parts; none is the root, a slot, no UTF-8, or there twice.
Decoded<std::vector<ObjectPath>> parse_all(std::span<const std::string_view> paths) {
  std::vector<ObjectPath> parsed;
  std::set<std::string> keys;
  for (const std::string_view path : paths) {
    ObjectPath parts = parse_object_path(path);
    if (!simdjson::validate_utf8(path.data(), path.size()))
      return invalid(path, "is not UTF-8, which TensorFlow needs");
    if (parts.names.empty()) return invalid(path, "names no object below the root");
    if (std::ranges::find(parts.names, kSlots) != parts.names.end())
      return invalid(path, "is the path of an optimizer's slot; slots cannot be written by path");
    if (parts.attribute.empty()) parts.attribute = kVariableValue;
    if (!keys.insert(checkpoint_key(parts)).second) return invalid(path, "is given twice");
    parsed.push_back(std::move(parts));
  }
  return parsed;
}

}  // namespace

std::string unescaped_object_name(std::string_view escaped) {
  std::string name;
  for (std::size_t i = 0; i < escaped.size(); ++i) {
    const char next = escaped[i] == '.' && i + 1 < escaped.size() ? escaped[i + 1] : '\0';
    name += next == 'S' ? '/' : escaped[i];
    if (next == '.' || next == 'S') ++i;
  }
  return name;
}

ObjectPath parse_object_path(std::string_view path) {
  ObjectPath parts;
  const std::size_t attributes = find_attributes(path);
  if (attributes != std::string_view::npos) {
    parts.attribute = unescaped_object_name(path.substr(attributes + kAttributes.size()));
    path = path.substr(0, attributes == 0 ? 0 : attributes - 1);
  }
  if (path.empty()) return parts;
  for (std::size_t slash = 0; slash != std::string_view::npos;) {
    slash = path.find('/');
    parts.names.push_back(unescaped_object_name(path.substr(0, slash)));
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  return parts;
}

std::string checkpoint_key(const ObjectPath& path) {
  std::string key;
  for (const std::string& name : path.names) key += escaped_object_name(name) + "/";
  if (key.empty()) key = "/";
  return key + std::string(kAttributes) + escaped_object_name(path.attribute);
}

std::vector<std::string> keys_of(const ObjectGraph& graph, std::string_view path) {
  std::set<std::string> keys;
  const ObjectPath parts = parse_object_path(path);
  auto found = walk(graph, parts.names);
  if (!found) found = slot_at(graph, parts.names);
  if (found) add_meant(keys, graph.nodes[*found], parts.attribute);
  for (const ObjectGraph::Node& node : graph.nodes) {
    for (const auto& attribute : node.attributes) {
      if (!path.empty() && attribute.full_name == path) keys.insert(attribute.key);
    }
  }
  return {keys.begin(), keys.end()};
}

Decoded<BuiltGraph> build_object_graph(std::span<const std::string_view> paths) {
  auto parsed = parse_all(paths);
  if (!parsed) return std::move(parsed).error();
  Builder builder(paths.size());
  std::size_t depth_max = 0;
  for (const ObjectPath& path : *parsed) depth_max = std::max(depth_max, path.names.size());
  std::vector<std::size_t> longer(paths.size());  // the paths that go on below this depth
  for (std::size_t i = 0; i < longer.size(); ++i) longer[i] = i;
  for (std::size_t depth = 0; depth < depth_max; ++depth) {
    std::erase_if(longer, [&](std::size_t i) { return (*parsed)[i].names.size() <= depth; });
    for (const std::size_t i : longer) builder.step(i, (*parsed)[i].names[depth]);
  }
  BuiltGraph built;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    built.keys.push_back(checkpoint_key((*parsed)[i]));
    builder.attach(i, {(*parsed)[i].attribute, {}, built.keys.back()});
  }
  built.graph = std::move(builder).finish();
  return built;
}

}  // namespace cairn::format::tensorflow
