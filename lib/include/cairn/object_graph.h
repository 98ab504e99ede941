#pragma once

// The object graph: what tf.train.Checkpoint stores in addition to the tensors, so that TensorFlow
// can assign each tensor to its variable again.
//
// - The nodes of the graph are the objects of the program. Node 0 is the root.
// - An edge has the name of a Python attribute, the key of a dict or the position in a list.
//   Several edges may lead to one object, and the graph may have cycles.
// - The *attributes* of an object are what it stores. Each attribute has a *key*: the name of its
//   tensor in the checkpoint. For a few objects, such as hash tables, the key is the beginning of
//   the names of several tensors. Most objects are variables, with the one attribute
//   VARIABLE_VALUE.
// - The *slots* of a variable are further variables, which optimizers of TensorFlow 1 and Keras 2
//   keep for it.
//
// An *object path* is the names of the edges from the root, joined by '/': "model/layers/0/kernel".
// In a name, '/' is written ".S" and '.' is written ".."; a single '.' also stands for itself. The
// name of an attribute may follow after "/.ATTRIBUTES/". "w/.OPTIMIZER_SLOT/opt/m" is the slot m
// that the object opt keeps for w.
//
//   auto checkpoint = cairn::Checkpoint::open("saved");
//   auto kernel = cairn::find_tensor(*checkpoint, "model/layers/0/kernel");
//
//   const cairn::NamedTensor tensors[] = {{{"model/w", cairn::DType::Float32, {2, 2}}, bytes, {}}};
//   auto saver = cairn::Saver::open("saved");
//   auto saved = cairn::save_objects(*saver, "ckpt", tensors, {.step = 1});  // saved/ckpt-1

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "cairn/export.h"
#include "cairn/tensor.h"

namespace cairn {

class Checkpoint;
class Saver;
struct NamedTensor;
struct SaveOptions;
struct Saved;

// A TrackableObjectGraph, as it is stored. A node is named by its position. Strings are bytes, not
// necessarily UTF-8. The graph may have cycles: keep a list of visited nodes when you walk it.
struct ObjectGraph {
  struct Child {
    std::string name;  // not escaped
    std::size_t node = 0;
    friend bool operator==(const Child&, const Child&) = default;
  };
  struct Attribute {
    std::string name;       // "VARIABLE_VALUE", "py_state", "table", "ITERATOR", …
    std::string full_name;  // name of the variable in a graph of TensorFlow 1; often empty
    std::string key;        // name of its tensor: use this field, and do not compose the name
    friend bool operator==(const Attribute&, const Attribute&) = default;
  };
  struct Slot {  // this node, an optimizer, keeps it
    std::size_t variable = 0;
    std::string name;
    std::size_t node = 0;  // the slot variable
    friend bool operator==(const Slot&, const Slot&) = default;
  };
  struct RegisteredSaver {
    std::string name;
    std::string object_name;
    friend bool operator==(const RegisteredSaver&, const RegisteredSaver&) = default;
  };
  struct Node {
    std::vector<Child> children;
    std::vector<Attribute> attributes;
    std::vector<Slot> slots;
    std::optional<RegisteredSaver> registered_saver;
    std::optional<bool> has_checkpoint_values;  // of this node or of a node below it
    friend bool operator==(const Node&, const Node&) = default;
  };

  std::vector<Node> nodes;  // never empty; every position in the nodes is less than their count
  friend bool operator==(const ObjectGraph&, const ObjectGraph&) = default;
};

// The name of the tensor, a scalar string, that holds the graph.
inline constexpr std::string_view kObjectGraphName = "_CHECKPOINTABLE_OBJECT_GRAPH";

// The name as it is written in an object path. Threads: any.
inline std::string escaped_object_name(std::string_view name) {
  std::string escaped;
  for (const char character : name) {
    if (character == '.' || character == '/') escaped += '.';
    escaped += character == '/' ? 'S' : character;
  }
  return escaped;
}

// ---- Reading

// Returns the object graph of an open checkpoint of any format. Errors: NotFound (the checkpoint is
// name-based and has no graph), Corrupt (the bytes are not this protobuf message, or have more than
// 8,388,608 fields; a position is not less than the count of nodes; the checksum of the tensor),
// Unsupported (the tensor is no scalar string, or is larger than 256 MiB), Io. Cost: O(graph); the
// graph is copied.
CAIRN_API Result<ObjectGraph> read_object_graph(const Checkpoint& checkpoint) noexcept;

// Returns the key of the tensor that has this object path or this full_name. Any path through the
// graph that leads to the object is valid. If an object has several attributes and none of them is
// VARIABLE_VALUE, the path must name the attribute. Errors: NotFound, Invalid (the path fits
// several tensors; the message names them). Cost: O(graph).
CAIRN_API Result<std::string> tensor_key(const ObjectGraph& graph, std::string_view path) noexcept;

// Returns the tensors of an attribute: the one that its key names, else those whose names begin
// with the key, in bytewise order. The list is empty if the checkpoint has no such tensor. Cost:
// O(log tensors) for one tensor.
CAIRN_API Result<std::vector<Tensor>> tensors_of(const Checkpoint& checkpoint,
                                                 const ObjectGraph::Attribute& attribute) noexcept;

// Returns the tensor of this name; if there is none, the tensor that has this object path or
// full_name. Errors: those of Checkpoint::tensor, read_object_graph and tensor_key; NotFound (the
// message lists similar names). Cost: O(log tensors); if there is no tensor of this name, O(graph)
// for each call.
CAIRN_API Result<Tensor> find_tensor(const Checkpoint& checkpoint, std::string_view name) noexcept;

// ---- Writing

// The names under which tensors must be stored so that TensorFlow restores them into objects.
struct ObjectKeys {
  std::vector<std::string> keys;  // one for each path, in the same order
  std::string graph;              // the element of the tensor kObjectGraphName
};

// Returns keys and graph for these object paths. Each is the path of a variable, or of another
// attribute if the path names one. tf.train.Checkpoint(...).restore(...).assert_consumed() also
// needs the path "save_counter", an Int64 scalar. Errors: Invalid (no path; a path that is empty,
// is not UTF-8, is given twice or is a slot).
CAIRN_API Result<ObjectKeys> object_keys(std::span<const std::string_view> paths) noexcept;

// Saver::save for tensors whose names are object paths. Adds the graph, and save_counter if it is
// missing; its value is the step, or 0 without a step. With the name "ckpt" and a step the
// directory looks like that of a tf.train.CheckpointManager. Errors: those of object_keys and
// Saver::save.
CAIRN_API Result<Saved> save_objects(Saver& saver, std::string_view name,
                                     std::span<const NamedTensor> tensors,
                                     const SaveOptions& options) noexcept;

}  // namespace cairn
