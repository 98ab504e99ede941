#pragma once

// Objects: what tf.train.Checkpoint stores beside the tensors, so that each finds its way back to
// the variable it came from.
//
// The program's objects are the nodes of a graph, 0 is the root. An edge has the name of a Python
// attribute, a dict's key or a list's position; several may lead to one object, and back to where
// they came from. What an object has to be stored are its *attributes*, and each says under which
// name its tensor lies in the checkpoint, the *key*; of a few, such as hash tables, it is what the
// names of several tensors begin with. Most objects are variables: one attribute, VARIABLE_VALUE.
// Optimizers of TensorFlow 1 and of Keras 2 keep further variables for a variable:
// its *slots*.
//
// An *object path* is the names of edges from the root, joined by '/': "model/layers/0/kernel". In
// a name, '/' is written ".S", and '.' ".."; a lone '.' stands for itself too. Behind
// "/.ATTRIBUTES/" may follow an attribute's name. "w/.OPTIMIZER_SLOT/opt/m" is the slot m that the
// object opt keeps for w.
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

// A TrackableObjectGraph, as it is stored. Nodes are named by their position. Strings are bytes,
// not necessarily UTF-8. The graph may have cycles: walk it with a list of what was seen.
struct ObjectGraph {
  struct Child {
    std::string name;  // not escaped
    std::size_t node = 0;
    friend bool operator==(const Child&, const Child&) = default;
  };
  struct Attribute {
    std::string name;       // "VARIABLE_VALUE", "py_state", "table", "ITERATOR", …
    std::string full_name;  // of the variable in a graph of TensorFlow 1; often empty
    std::string key;        // where its tensor is stored: follow it, never compose it
    friend bool operator==(const Attribute&, const Attribute&) = default;
  };
  struct Slot {  // kept by this node, an optimizer
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
    std::optional<bool> has_checkpoint_values;  // of this node or of one below it
    friend bool operator==(const Node&, const Node&) = default;
  };

  std::vector<Node> nodes;  // never empty; every position in them is below their count
  friend bool operator==(const ObjectGraph&, const ObjectGraph&) = default;
};

// The name of the tensor, a scalar string, that holds the graph.
inline constexpr std::string_view kObjectGraphName = "_CHECKPOINTABLE_OBJECT_GRAPH";

// A name as it stands in an object path. Threads: any.
inline std::string escaped_object_name(std::string_view name) {
  std::string escaped;
  for (const char character : name) {
    if (character == '.' || character == '/') escaped += '.';
    escaped += character == '/' ? 'S' : character;
  }
  return escaped;
}

// ---- Reading

// The graph of an open checkpoint, whatever format it has now. Errors: NotFound (there is none: the
// checkpoint is name-based), Corrupt (no such protobuf message, or one of more than
// 8,388,608 fields; a position beyond the nodes; the tensor's checksum), Unsupported (the tensor is
// no scalar string; more than 256 MiB), Io. Cost: O(graph), all of it copied.
CAIRN_API Result<ObjectGraph> read_object_graph(const Checkpoint& checkpoint) noexcept;

// The key of the tensor that an object path leads to, by whatever way through the graph, or that
// has this full_name. An object with several attributes, none of them VARIABLE_VALUE, needs its
// attribute named. Errors: NotFound, Invalid (several tensors could be meant: the sentence names
// them). Cost: O(graph).
CAIRN_API Result<std::string> tensor_key(const ObjectGraph& graph, std::string_view path) noexcept;

// The tensors of an attribute: the one that its key names, else those whose names begin with it, in
// bytewise order; none where the checkpoint lacks them. Cost: O(log tensors) for one.
CAIRN_API Result<std::vector<Tensor>> tensors_of(const Checkpoint& checkpoint,
                                                 const ObjectGraph::Attribute& attribute) noexcept;

// The tensor that is stored under this name; where none is, the one that the object path or
// full_name means. Errors: those of Checkpoint::tensor, read_object_graph and tensor_key; NotFound
// with the nearest names where nothing fits. Cost: where the name is none, O(graph) at each call.
CAIRN_API Result<Tensor> find_tensor(const Checkpoint& checkpoint, std::string_view name) noexcept;

// ---- Writing

// Under which names tensors are to be stored, so that TensorFlow restores them into objects.
struct ObjectKeys {
  std::vector<std::string> keys;  // of each path, in their order
  std::string graph;              // the element of the tensor kObjectGraphName
};

// Keys and graph for these object paths, each the path of a variable, or of another attribute where
// it names one. tf.train.Checkpoint(...).restore(...).assert_consumed() wants "save_counter" among
// them too, an Int64 scalar. Errors: Invalid (none, one that is empty, one that is no UTF-8, twice
// the same, a slot).
CAIRN_API Result<ObjectKeys> object_keys(std::span<const std::string_view> paths) noexcept;

// Saver::save for tensors that are named by object paths: adds the graph and, where it is not among
// them, save_counter, which is the step or else 0. With the name "ckpt" and a step the directory is
// that of a tf.train.CheckpointManager. Errors: those of object_keys and Saver::save.
CAIRN_API Result<Saved> save_objects(Saver& saver, std::string_view name,
                                     std::span<const NamedTensor> tensors,
                                     const SaveOptions& options) noexcept;

}  // namespace cairn
