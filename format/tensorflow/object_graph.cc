#include "format/tensorflow/object_graph.h"

#include <algorithm>

#include "format/limits.h"
#include "format/tensorflow/protobuf.h"

namespace cairn::format::tensorflow {
namespace {

std::string text_of(const protozero::data_view& view) { return {view.data(), view.size()}; }

// Whether it is one of the nodes shows when all of them are known.
std::size_t read_node_id(Message& message) {
  const std::int64_t id = message.get_int64();
  if (id < 0) throw Malformed("the number of a node is negative");
  return static_cast<std::size_t>(id);
}

ObjectGraph::Child read_child(Message message) {
  ObjectGraph::Child child;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kVarint):
        child.node = read_node_id(message);
        break;
      case tag_and_type(2, kBytes):
        child.name = text_of(message.get_view());
        break;
      default:
        skip_unknown(message, 2);
    }
  }
  return child;
}

ObjectGraph::Attribute read_attribute(Message message) {
  ObjectGraph::Attribute attribute;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kBytes):
        attribute.name = text_of(message.get_view());
        break;
      case tag_and_type(2, kBytes):
        attribute.full_name = text_of(message.get_view());
        break;
      case tag_and_type(3, kBytes):
        attribute.key = text_of(message.get_view());
        break;
      default:
        skip_unknown(message, 3);
    }
  }
  return attribute;
}

ObjectGraph::Slot read_slot(Message message) {
  ObjectGraph::Slot slot;
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kVarint):
        slot.variable = read_node_id(message);
        break;
      case tag_and_type(2, kBytes):
        slot.name = text_of(message.get_view());
        break;
      case tag_and_type(3, kVarint):
        slot.node = read_node_id(message);
        break;
      default:
        skip_unknown(message, 3);
    }
  }
  return slot;
}

void read_registered_saver(Message message, ObjectGraph::RegisteredSaver& saver) {
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kBytes):
        saver.name = text_of(message.get_view());
        break;
      case tag_and_type(2, kBytes):
        saver.object_name = text_of(message.get_view());
        break;
      default:
        skip_unknown(message, 2);
    }
  }
}

// google.protobuf.BoolValue: that the message is there says that the value is known. A field that
// comes twice is one message in two parts, as everywhere in protobuf.
void read_bool(Message message, std::optional<bool>& value) {
  value = value.value_or(false);
  while (message.next()) {
    switch (message.tag_and_type()) {
      case tag_and_type(1, kVarint):
        value = message.get_uint64() != 0;
        break;
      default:
        skip_unknown(message, 1);
    }
  }
}

// How many more parts the graph may have.
class Room {
 public:
  void take() {
    if (left_ == 0) throw Malformed("it has too many nodes, children and attributes");
    --left_;
  }

 private:
  std::uint64_t left_ = limits::kObjectGraphPartsMax;
};

ObjectGraph::Node read_node(Message message, Room& room) {
  ObjectGraph::Node node;
  while (message.next()) {
    room.take();
    switch (message.tag_and_type()) {
      case tag_and_type(1, kBytes):
        node.children.push_back(read_child(message.get_message()));
        break;
      case tag_and_type(2, kBytes):
        node.attributes.push_back(read_attribute(message.get_message()));
        break;
      case tag_and_type(3, kBytes):
        node.slots.push_back(read_slot(message.get_message()));
        break;
      case tag_and_type(4, kBytes):
        if (!node.registered_saver) node.registered_saver.emplace();
        read_registered_saver(message.get_message(), *node.registered_saver);
        break;
      case tag_and_type(5, kBytes):
        read_bool(message.get_message(), node.has_checkpoint_values);
        break;
      default:
        skip_unknown(message, 5);
    }
  }
  return node;
}

ObjectGraph read_graph(Message message) {
  ObjectGraph graph;
  Room room;
  while (message.next()) {
    room.take();
    switch (message.tag_and_type()) {
      case tag_and_type(1, kBytes):
        graph.nodes.push_back(read_node(message.get_message(), room));
        break;
      default:
        skip_unknown(message, 1);
    }
  }
  return graph;
}

// What is wrong with the nodes that a node names; empty: nothing.
std::string wrong_reference(const ObjectGraph::Node& node, std::size_t node_count) {
  const auto sentence = [&](const char* what, const std::string& name, std::size_t to) {
    return std::string(what) + " \"" + name + "\" is node " + std::to_string(to) +
           ", but there are " + std::to_string(node_count) + " nodes";
  };
  for (const auto& child : node.children) {
    if (child.node >= node_count) return sentence("its child", child.name, child.node);
  }
  for (const auto& slot : node.slots) {
    const std::size_t larger = std::max(slot.variable, slot.node);
    if (larger >= node_count) return sentence("its slot or variable", slot.name, larger);
  }
  return {};
}

// ---- Writing

void append_text(std::string& out, std::uint32_t field, std::string_view text) {
  if (!text.empty()) append_message(out, field, text);
}

std::string encode_node(const ObjectGraph::Node& node) {
  std::string out;
  std::string part;
  for (const auto& child : node.children) {
    part.clear();
    append_number(part, 1, static_cast<std::int64_t>(child.node));
    append_text(part, 2, child.name);
    append_message(out, 1, part);
  }
  for (const auto& attribute : node.attributes) {
    part.clear();
    append_text(part, 1, attribute.name);
    append_text(part, 2, attribute.full_name);
    append_text(part, 3, attribute.key);
    append_message(out, 2, part);
  }
  for (const auto& slot : node.slots) {
    part.clear();
    append_number(part, 1, static_cast<std::int64_t>(slot.variable));
    append_text(part, 2, slot.name);
    append_number(part, 3, static_cast<std::int64_t>(slot.node));
    append_message(out, 3, part);
  }
  if (node.registered_saver) {
    part.clear();
    append_text(part, 1, node.registered_saver->name);
    append_text(part, 2, node.registered_saver->object_name);
    append_message(out, 4, part);
  }
  if (node.has_checkpoint_values) {
    part.clear();
    append_number(part, 1, *node.has_checkpoint_values ? 1 : 0);
    append_message(out, 5, part);
  }
  return out;
}

}  // namespace

Decoded<ObjectGraph> decode_object_graph(std::string_view message) {
  if (message.size() > limits::kObjectGraphBytesMax) {
    return unsupported(0, "has " + std::to_string(message.size()) +
                              " bytes, more than the limit for an object graph");
  }
  ObjectGraph graph;
  try {
    graph = read_graph(Message(message));
  } catch (const protozero::exception& error) {
    return corrupt(0, std::string("is not a TrackableObjectGraph: ") + error.what());
  }
  if (graph.nodes.empty()) return corrupt(0, "is an object graph without a root");
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::string wrong = wrong_reference(graph.nodes[i], graph.nodes.size());
    if (!wrong.empty()) return corrupt(0, "node " + std::to_string(i) + ": " + wrong);
  }
  return graph;
}

std::string encode_object_graph(const ObjectGraph& graph) {
  std::string out;
  for (const ObjectGraph::Node& node : graph.nodes) append_message(out, 1, encode_node(node));
  return out;
}

}  // namespace cairn::format::tensorflow
