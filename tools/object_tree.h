#pragma once

// An object graph as a tree to be printed: each object stands where the shortest path leads to it,
// and every other way there is a reference. Nothing here recurses, or keeps whole paths: a graph
// may be a chain of a hundred thousand objects.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/object_graph.h"

namespace cairn::tools {

class ObjectTree {
 public:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  // How names are shown: as in an object path, or as they are, where they are parts of tensors'
  // names.
  enum class Names { Escaped, Plain };

  // The graph must outlive the tree.
  ObjectTree(const ObjectGraph& graph, Names names);

  // A way from an object to another: a child's, or that of a slot which `optimizer` keeps for it.
  struct Edge {
    std::string_view name;
    std::size_t optimizer = kNone;
    std::size_t node = 0;
  };
  std::span<const Edge> edges(std::size_t node) const { return edges_[node]; }

  // Whether the object stands at this edge; else the edge is a reference to it.
  bool stands_at(std::size_t from, std::size_t edge) const;

  std::size_t parent(std::size_t node) const { return places_[node].parent; }  // kNone: of a root

  // As it stands in a path.
  std::string label(const Edge& edge) const;

  // The path of the object; where that is long, its end behind "…".
  std::string path(std::size_t node) const;

  // The root, and objects that no path from it reaches.
  std::span<const std::size_t> roots() const { return roots_; }

 private:
  struct Place {
    std::size_t parent = kNone;
    std::size_t edge = kNone;
    bool found = false;
  };

  std::string shown(std::string_view name) const;
  void reach(std::size_t root);
  void follow_children();
  void follow(std::size_t from, std::size_t edge);

  const ObjectGraph& graph_;
  Names names_;
  std::vector<std::vector<Edge>> edges_;
  std::vector<Place> places_;
  std::vector<std::size_t> found_;  // in the order of finding
  std::size_t children_followed_ = 0;
  std::size_t slots_followed_ = 0;
  std::vector<std::size_t> roots_;
};

// The tree of a name-based checkpoint: its tensors' names, parted at each '/'.
ObjectGraph graph_of_names(const Checkpoint& checkpoint);

}  // namespace cairn::tools
