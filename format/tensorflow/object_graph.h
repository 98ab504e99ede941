#pragma once

// The object graph of a TensorFlow 2 checkpoint: the protobuf message, and the paths through it.
// FORMAT.md, "Object graphs".

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/object_graph.h"
#include "format/decode_error.h"

namespace cairn::format::tensorflow {

// ---- object_graph.cc: the message

// Unknown fields are skipped; every position is below the number of nodes. Memory: a constant times
// the message. Errors: Corrupt; Unsupported (too long).
Decoded<ObjectGraph> decode_object_graph(std::string_view message);

// As TensorFlow serializes it.
std::string encode_object_graph(const ObjectGraph& graph);

// ---- object_path.cc: the paths

inline constexpr std::string_view kVariableValue = "VARIABLE_VALUE";

// What escaped_object_name() was given. A '.' that stands alone stands for itself.
std::string unescaped_object_name(std::string_view escaped);

// What a path says. "a/b/.ATTRIBUTES/py_state": the names a and b, the attribute py_state.
struct ObjectPath {
  std::vector<std::string> names;  // none: the root
  std::string attribute;           // empty: not said
};
ObjectPath parse_object_path(std::string_view path);

// The name under which TensorFlow stores this attribute.
std::string checkpoint_key(const ObjectPath& path);

// The keys of what may be meant: at the end of the path, or of that full_name. Sorted.
std::vector<std::string> keys_of(const ObjectGraph& graph, std::string_view path);

// A graph with these paths, its nodes in breadth-first order, and the key of each path. Errors:
// Invalid.
struct BuiltGraph {
  ObjectGraph graph;
  std::vector<std::string> keys;
};
Decoded<BuiltGraph> build_object_graph(std::span<const std::string_view> paths);

}  // namespace cairn::format::tensorflow
