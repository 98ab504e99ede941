// The graph is walked message by message, with a stack of its own instead of recursion: a subgraph
// lies in an attribute of a node of a graph, as deep as its writer likes.
//
// Protobuf's fields may come in any order, so a tensor may come before the name of the node that it
// belongs to. So each tensor remembers its scope, and names are made when all of it has been read.

#include "format/onnx/model.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "format/limits.h"
#include "format/onnx/tensor.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format::onnx {
namespace {

enum class Kind : std::uint8_t { Model, Graph, Node, Attribute, Function, Training };

// A message that tensors lie in, and what of it makes their names.
struct Scope {
  std::uint32_t parent = 0;
  Kind kind{};
  std::uint64_t number = 0;  // of a node in its graph
  std::string name;
  std::string operation;              // of a node
  std::optional<std::string> output;  // of a node, the first
};

// A message that is being walked.
struct Frame {
  Kind kind{};
  std::uint64_t end = 0;
  std::uint32_t scope = 0;
  std::size_t found_before = 0;  // tensors
  std::uint64_t node_count = 0;
  bool has_tensor = false;  // of an attribute
};

struct Found {
  TensorRecord record;
  std::uint32_t scope = 0;
  bool of_attribute = false;  // not an initializer
};

class Walk {
 public:
  Walk(WireReader& reader, const ModelOptions& options) : reader_(reader), options_(options) {}

  Decoded<Model> run() {
    push(Kind::Model, {0, reader_.file_bytes()});
    walk();
    if (reader_.error() && options_.whole) return *reader_.error();
    if (reader_.error()) leave_out(reader_.error()->what);
    if (!name_all()) return *reader_.error();
    add_own_metadata();
    std::ranges::sort(model_.tensors, {}, &TensorRecord::name);
    std::ranges::sort(model_.metadata);
    if (left_out_count_ > kLeftOutNamedMax) {
      model_.left_out.push_back(sentence(left_out_count_ - kLeftOutNamedMax, " more are left out"));
    }
    return std::move(model_);
  }

 private:
  static constexpr std::size_t kLeftOutNamedMax = 20;

  void push(Kind kind, const FileRange& message);
  void walk();
  bool take(const Field& field);
  bool take_of_model(const Field& field);
  bool take_of_graph(const Field& field);
  bool take_of_node(const Field& field);
  bool take_of_attribute(const Field& field);
  bool take_of_function(const Field& field);
  bool take_scope_text(const Field& field, std::string& text);
  bool take_operator_set(const Field& field);
  bool take_metadata(const Field& field);
  bool add(const Field& field, bool of_attribute);
  bool add_sparse(const Field& field);
  bool enter(Kind kind, const Field& field);

  bool name_all();
  bool is_in_main_graph(const Found& found) const;
  std::string path_of(const Found& found) const;
  bool name(Found& found, bool main_graph);
  void add_metadata(std::pair<std::string, std::string> pair);
  void add_own_metadata();

  void leave_out(std::string sentence) {
    if (++left_out_count_ <= kLeftOutNamedMax) model_.left_out.push_back(std::move(sentence));
  }

  WireReader& reader_;
  const ModelOptions& options_;
  Model model_;
  std::vector<Frame> frames_;
  std::vector<Scope> scopes_;  // those of the frames, and all that tensors lie in
  std::vector<Found> found_;
  std::size_t left_out_count_ = 0;
  std::uint64_t metadata_bytes_ = 0;
  KeyValues own_metadata_;     // the model's own fields
  std::string operator_sets_;  // as the members of a JSON object
  std::unordered_set<std::string> metadata_keys_;
  std::unordered_map<std::string, std::uint64_t> taken_;  // names, and how many got a number behind
  std::uint64_t name_bytes_ = 0;                          // of all names
};

// ---- Messages -----------------------------------------------------------------------------------

void Walk::push(Kind kind, const FileRange& message) {
  Scope scope{0, kind, 0, {}, {}, {}};
  if (!frames_.empty()) {
    scope.parent = frames_.back().scope;
    scope.number = frames_.back().node_count;
    if (kind == Kind::Node) ++frames_.back().node_count;
  }
  frames_.push_back({kind, message.offset_bytes + message.size_bytes,
                     static_cast<std::uint32_t>(scopes_.size()), found_.size(), 0, false});
  scopes_.push_back(std::move(scope));
  reader_.enter(message);
}

bool Walk::enter(Kind kind, const Field& field) {
  if (!is_of(reader_, field, WireType::Bytes)) return false;
  if (frames_.size() >= limits::kOnnxDepthMax) {
    return reader_.refuse(unsupported(
        field.at,
        sentence("messages are nested deeper than protobuf's limit of ", limits::kOnnxDepthMax)));
  }
  push(kind, field.bytes);
  return true;
}

void Walk::walk() {
  while (!frames_.empty()) {
    const Frame& frame = frames_.back();
    Field field;
    if (reader_.next(frame.end, field)) {
      if (!take(field)) return;
      continue;
    }
    if (reader_.error()) return;
    if (frame.found_before == found_.size()) scopes_.resize(frame.scope);
    frames_.pop_back();
  }
}

bool Walk::take(const Field& field) {
  switch (frames_.back().kind) {
    case Kind::Model:
      return take_of_model(field);
    case Kind::Graph:
      return take_of_graph(field);
    case Kind::Node:
      return take_of_node(field);
    case Kind::Attribute:
      return take_of_attribute(field);
    case Kind::Function:
      return take_of_function(field);
    case Kind::Training:
      return field.number > 2 || enter(Kind::Graph, field);
  }
  return true;
}

bool Walk::take_of_model(const Field& field) {
  const auto text = [&](std::string key) {
    std::string value;
    if (!take_text(reader_, field, limits::kNameBytesMax, value)) return false;
    if (!value.empty()) own_metadata_.emplace_back(std::move(key), std::move(value));
    return true;
  };
  const auto number = [&](std::string key) {
    own_metadata_.emplace_back(std::move(key),
                               std::to_string(static_cast<std::int64_t>(field.varint)));
    return is_of(reader_, field, WireType::Varint);
  };
  switch (field.number) {
    case 1:
      return number("onnx.ir_version");
    case 2:
      return text("onnx.producer_name");
    case 3:
      return text("onnx.producer_version");
    case 4:
      return text("onnx.domain");
    case 5:
      return number("onnx.model_version");
    case 7:
      return enter(Kind::Graph, field);
    case 8:
      return take_operator_set(field);
    case 14:
      return take_metadata(field);
    case 20:
      return enter(Kind::Training, field);
    case 25:
      return enter(Kind::Function, field);
    default:
      return true;
  }
}

bool Walk::take_of_graph(const Field& field) {
  switch (field.number) {
    case 1:
      return enter(Kind::Node, field);
    case 5:
      return add(field, false);
    case 15:
      return add_sparse(field);
    default:
      return true;
  }
}

bool Walk::take_of_node(const Field& field) {
  Scope& scope = scopes_[frames_.back().scope];
  switch (field.number) {
    case 2:
      if (scope.output) return true;
      scope.output.emplace();
      return take_scope_text(field, *scope.output);
    case 3:
      return take_scope_text(field, scope.name);
    case 4:
      return take_scope_text(field, scope.operation);
    case 5:
      return enter(Kind::Attribute, field);
    default:
      return true;
  }
}

bool Walk::take_of_attribute(const Field& field) {
  switch (field.number) {
    case 1:
      return take_scope_text(field, scopes_[frames_.back().scope].name);
    case 5:  // protobuf puts two of them together, field by field
      if (std::exchange(frames_.back().has_tensor, true))
        return reader_.refuse(field.at, "an attribute has two tensors where one is allowed");
      return add(field, true);
    case 10:
      return add(field, true);
    case 6:
    case 11:
      return enter(Kind::Graph, field);
    case 22:
    case 23:
      return add_sparse(field);
    default:
      return true;
  }
}

bool Walk::take_of_function(const Field& field) {
  switch (field.number) {
    case 1:
      return take_scope_text(field, scopes_[frames_.back().scope].name);
    case 7:
      return enter(Kind::Node, field);
    case 11:
      return enter(Kind::Attribute, field);
    default:
      return true;
  }
}

bool Walk::take_scope_text(const Field& field, std::string& text) {
  return take_text(reader_, field, limits::kNameBytesMax, text);
}

// ---- Metadata -----------------------------------------------------------------------------------

// {"": 24}, as JSON. A domain is the name of a host, such as "ai.onnx.ml".
bool Walk::take_operator_set(const Field& field) {
  if (!is_of(reader_, field, WireType::Bytes)) return false;
  std::string domain;
  std::uint64_t version = 0;
  reader_.enter(field.bytes);
  for (Field part; reader_.next(field.bytes.offset_bytes + field.bytes.size_bytes, part);) {
    if (part.number == 1 && !take_text(reader_, part, limits::kNameBytesMax, domain)) return false;
    if (part.number == 2 && !is_of(reader_, part, WireType::Varint)) return false;
    if (part.number == 2) version = part.varint;
  }
  if (operator_sets_.size() > limits::kNameBytesMax) return true;
  operator_sets_ += sentence(operator_sets_.empty() ? "" : ", ", quoted(domain), ": ",
                             static_cast<std::int64_t>(version));
  return !reader_.error();
}

bool Walk::take_metadata(const Field& field) {
  if (!is_of(reader_, field, WireType::Bytes)) return false;
  std::pair<std::string, std::string> pair;
  if (!take_pair(reader_, field.bytes, limits::kOnnxMetadataBytesMax, pair)) return false;
  if (pair.first.starts_with(kReservedKeys)) {
    leave_out(
        sentence("metadata ", quoted(pair.first), " is left out: it is called as Cairn's own is"));
    return true;
  }
  metadata_bytes_ += pair.first.size() + pair.second.size() + sizeof pair;
  if (metadata_bytes_ > limits::kOnnxMetadataBytesMax) {
    return reader_.refuse(
        unsupported(field.at, sentence("all metadata is longer than the limit of ",
                                       limits::kOnnxMetadataBytesMax, " bytes")));
  }
  add_metadata(std::move(pair));
  return true;
}

void Walk::add_metadata(std::pair<std::string, std::string> pair) {
  if (metadata_keys_.insert(pair.first).second)
    model_.metadata.push_back(std::move(pair));
  else
    leave_out(sentence("a second value of metadata ", quoted(pair.first), " is left out"));
}

// What the writer of the model said under such a key stands.
void Walk::add_own_metadata() {
  if (!operator_sets_.empty())
    own_metadata_.emplace_back("onnx.opset_import", "{" + operator_sets_ + "}");
  for (auto& pair : own_metadata_) add_metadata(std::move(pair));
}

// ---- Tensors ------------------------------------------------------------------------------------

bool Walk::add(const Field& field, bool of_attribute) {
  if (!is_of(reader_, field, WireType::Bytes)) return false;
  if (found_.size() + left_out_count_ >= limits::kOnnxTensorsMax) {
    return reader_.refuse(unsupported(
        field.at,
        sentence("the model has more tensors than the limit of ", limits::kOnnxTensorsMax)));
  }
  ParsedTensor tensor;
  if (!take_tensor(reader_, field.bytes, tensor)) return false;
  if (tensor.problem && options_.whole) return reader_.refuse(*std::move(tensor.problem));
  if (tensor.problem) {
    leave_out(std::move(tensor.problem->what));
  } else if (!tensor.left_out.empty()) {
    leave_out(std::move(tensor.left_out));
  } else {
    found_.push_back({std::move(tensor.record), frames_.back().scope, of_attribute});
  }
  return true;
}

bool Walk::add_sparse(const Field& field) {
  if (!is_of(reader_, field, WireType::Bytes)) return false;
  std::string sentence;
  if (!take_sparse_tensor(reader_, field.bytes, sentence)) return false;
  leave_out(std::move(sentence));
  return true;
}

// ---- Names --------------------------------------------------------------------------------------

bool Walk::is_in_main_graph(const Found& found) const {
  if (found.of_attribute) return false;
  const Scope& graph = scopes_[found.scope];
  return graph.kind == Kind::Graph && scopes_[graph.parent].kind == Kind::Model;
}

// NODE/ATTRIBUTE/NAME. A Constant's tensor is called as the value that it makes.
std::string Walk::path_of(const Found& found) const {
  std::vector<std::string> parts;
  if (!found.of_attribute) parts.push_back(found.record.name);
  std::uint32_t at = found.scope;
  if (found.of_attribute && scopes_[at].kind == Kind::Attribute) {
    const Scope& node = scopes_[scopes_[at].parent];
    const bool constant = node.operation == "Constant" && node.output;
    if (constant && scopes_[at].name == "value") {
      parts.push_back(*node.output);
      at = node.parent;
    }
  }
  for (; scopes_[at].kind != Kind::Model; at = scopes_[at].parent) {
    const Scope& scope = scopes_[at];
    if (scope.kind == Kind::Graph) continue;
    if (scope.kind == Kind::Training) {
      parts.emplace_back("training_info");
    } else if (scope.kind == Kind::Node && scope.name.empty()) {
      parts.push_back(sentence(scope.operation, "_", scope.number));
    } else {
      parts.push_back(scope.name);
    }
  }
  std::string path = std::move(parts.back());
  for (std::size_t i = parts.size() - 1; i-- > 0;) path += "/" + parts[i];
  return path;
}

// Those of the main graph keep the names that they have.
bool Walk::name_all() {
  for (const bool main_graph : {true, false}) {
    for (Found& found : found_) {
      if (is_in_main_graph(found) == main_graph && !name(found, main_graph)) return false;
    }
  }
  return true;
}

bool Walk::name(Found& found, bool main_graph) {
  TensorRecord& record = found.record;
  std::string name = main_graph ? record.name : path_of(found);
  name_bytes_ += name.size();
  if (name.size() > limits::kNameBytesMax || name_bytes_ > limits::kOnnxNamesBytesMax) {
    return reader_.refuse(unsupported(
        record.at, sentence("the names of all tensors, with those of the nodes that they lie in, "
                            "are longer than the limit of ",
                            limits::kOnnxNamesBytesMax, " bytes")));
  }
  bool is_new = taken_.try_emplace(name, 1).second;
  if (!is_new && main_graph) {
    const std::string called = sentence("initializer called ", quoted(name));
    if (options_.whole) return reader_.refuse(record.at, "the graph has a second " + called);
    leave_out("a second " + called + " is left out");
    return true;
  }
  for (const std::string first = name; !is_new;) {
    name = sentence(first, "#", ++taken_.at(first));
    is_new = taken_.try_emplace(name, 1).second;
  }
  record.name = std::move(name);
  model_.tensors.push_back(std::move(record));
  return true;
}

}  // namespace

Decoded<Model> decode_model(WireReader& reader, const ModelOptions& options) {
  return Walk(reader, options).run();
}

}  // namespace cairn::format::onnx
