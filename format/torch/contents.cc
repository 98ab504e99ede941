// The values of a pickle form a graph, in which a list may hold itself, and of which a few bytes
// can make a tree without end. So it is walked without recursion, each visit is counted, and what
// is being visited already is not entered again.
//
// What an object of an unknown class is nobody here can say. But its state, where it is a dict, is
// what Python would make attributes of: a module of PyTorch has its tensors there. So they are
// read, and the rest of the object is left out.

#include "format/torch/contents.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "format/limits.h"
#include "format/pickle/text.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "format/sorted.h"
#include "format/torch/arrays.h"
#include "format/torch/keys.h"
#include "lib/try.h"

namespace cairn::format::torch {
namespace {

using pickle::Graph;
using pickle::Kind;
using pickle::Node;
using pickle::Ref;

constexpr std::size_t kSentencesMax = 20;  // stops a flood of warnings
constexpr std::uint64_t kTensorCostBytes = sizeof(StoredTensor) + 32;
constexpr std::size_t kUsualNameBytes = 32;
constexpr std::size_t kListedMax = 1'000;  // numbers of a list, each under a key of its own
constexpr std::uint32_t kTop = ~std::uint32_t{0};

// A step on the way to a value.
struct Step {
  std::uint32_t before = kTop;  // the step that leads here
  Ref key = pickle::kNone;      // of a dict
  std::uint32_t index = 0;      // of a list
  bool is_index = false;
};

// How the walk comes to a value.
struct Way {
  std::uint32_t step = kTop;
  bool is_named = false;  // the name so far is of a step
  bool opaque = false;    // it lies in an object of an unknown class
};

// What a container's values are.
enum class Inside : std::uint8_t {
  Plain,
  Pairs,  // of a list: a key and a value each, of which a dict is made
  State,  // of a dict: the attributes of an object of an unknown class
};

// A container that is being gone through.
struct Frame {
  Ref container = pickle::kNone;
  std::vector<std::pair<Ref, Ref>> items;  // of a dict
  Graph::Cells::Iterator next;             // of a list
  Graph::Cells::Iterator end;
  std::size_t at = 0;  // how many have been visited
  Way way = {};        // to the container
  std::size_t name_size = 0;
  bool is_dict = false;
  bool is_state = false;  // of an object of an unknown class
};

class Walk {
 public:
  Walk(const pickle::Pickle& pickle, const ReadOptions& options)
      : pickle_(pickle),
        graph_(pickle.graph),
        options_(options),
        tensors_(pickle, options.expand),
        is_plain_(options.plain),
        open_(pickle.graph.size()),
        left_bytes_(options.memory_max / 2),
        metadata_left_bytes_(left_bytes_) {}

  Decoded<Contents> run() {
    CAIRN_CHECK(tensors_.find_storages(pickle_));
    arrays_.emplace(graph_, static_cast<std::uint32_t>(tensors_.storages().size()));
    const std::size_t usual = pickle_.persistent.size();  // each storage has a tensor
    if (is_plain_) {
      contents_.plain = PlainTensors({usual, kUsualNameBytes * usual, 2 * usual});
    } else {
      contents_.tensors.reserve(usual);
    }
    tensor_steps_.reserve(usual);
    steps_.reserve(usual);
    name_ = options_.name;
    CAIRN_CHECK(visit(pickle_.root, {.is_named = !name_.empty()}));
    while (!frames_.empty()) CAIRN_CHECK(step());
    contents_.storages = tensors_.storages();
    std::ranges::copy(arrays_->storages(), std::back_inserter(contents_.storages));
    name_tensors();
    name_metadata();
    const std::uint64_t unsaid = contents_.left_out_count - contents_.left_out.size();
    if (unsaid != 0) contents_.left_out.push_back(sentence(unsaid, " more values are left out"));
    return std::move(contents_);
  }

 private:
  Decoded<void> step();
  Decoded<void> visit(Ref value, Way way);
  Decoded<void> visit_object(Ref object, Way way);
  Decoded<void> visit_number(Ref object, Way way);
  Decoded<void> add_tensor(Decoded<StoredTensor> tensor, Way way);
  Decoded<void> add_plain(const Tensors::PlainTensor& tensor, Way way);
  void leave_plain();
  bool sort_plain();
  Decoded<void> enter(Ref container, Way way, Inside inside);
  Decoded<void> add_metadata(std::string text, Way way);
  Decoded<void> add_scalar(Ref value, Way way);
  Decoded<void> spend(std::uint64_t bytes);
  enum class Named : bool { No, Yes };
  bool is_said(Way way) const noexcept;
  void leave_out(Way way, std::string_view why, Named named = Named::Yes);
  void leave_out_tensor(std::string_view why);
  std::optional<std::string> scalar_text(Ref value) const;
  bool is_long_list(Ref list);
  Decoded<void> add_long_list(Ref list, Way way);
  std::string pointer_of(std::uint32_t step) const;
  template <class NameOf>
  std::vector<std::size_t> unique_names(std::size_t count, NameOf name_of,
                                        const std::vector<std::uint32_t>& steps,
                                        std::string_view kind);
  void name_tensors();
  void name_metadata();

  const pickle::Pickle& pickle_;
  const Graph& graph_;
  const ReadOptions& options_;
  Tensors tensors_;
  std::optional<Arrays> arrays_;
  Contents contents_;
  bool is_plain_;  // the tensors so far are, and lie in contents_.plain
  std::vector<Frame> frames_;
  std::vector<Step> steps_;
  std::vector<bool> open_;                     // the containers that are being gone through
  std::string name_;                           // of the value that is visited
  std::vector<std::uint32_t> tensor_steps_;    // to each tensor
  std::vector<std::uint32_t> metadata_steps_;  // to each key
  std::uint64_t visits_ = 0;
  std::uint64_t left_bytes_;           // that may still be made of the pickle
  std::uint64_t metadata_left_bytes_;  // of metadata
};

// ---- Names --------------------------------------------------------------------------------------

// RFC 6901.
std::string Walk::pointer_of(std::uint32_t step) const {
  std::vector<std::string> parts;
  for (; step != kTop; step = steps_[step].before) {
    const Step& each = steps_[step];
    std::string part = "/";
    for (const char character :
         each.is_index ? std::to_string(each.index) : key_text(graph_, each.key)) {
      if (character == '~') part += "~0";
      if (character == '/') part += "~1";
      if (character != '~' && character != '/') part += character;
    }
    parts.push_back(std::move(part));
  }
  std::string pointer;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) pointer += *part;
  return pointer;
}

// ---- What is left out, and what it costs --------------------------------------------------------

Decoded<void> Walk::spend(std::uint64_t bytes) {
  if (bytes > left_bytes_) {
    return unsupported(
        0, sentence("what its pickle leads to takes more memory than the ", options_.memory_max,
                    " bytes that are allowed for a pickle of its size"));
  }
  left_bytes_ -= bytes;
  return {};
}

void Walk::leave_out_tensor(std::string_view why) {
  if (++contents_.left_out_count > kSentencesMax) return;
  contents_.left_out.push_back(sentence("tensor ", quoted(name_), " is left out: ", why));
}

// Whether leave_out() keeps its sentence. Of an object that is left out the parts are not named
// too.
bool Walk::is_said(Way way) const noexcept {
  return !way.opaque && contents_.left_out_count < kSentencesMax;
}

void Walk::leave_out(Way way, std::string_view why, Named named) {
  if (way.opaque || ++contents_.left_out_count > kSentencesMax) return;
  const bool all = named == Named::Yes;
  const std::string what = way.step == kTop && name_.empty()
                               ? (all ? "all that the pickle holds" : "a value")
                               : sentence(all ? "the value " : "a value in ", quoted(name_));
  contents_.left_out.push_back(sentence(what, " is left out: ", why));
}

// ---- Containers ---------------------------------------------------------------------------------

// Goes through what it holds. `way` leads to it.
Decoded<void> Walk::enter(Ref container, Way way, Inside inside) {
  if (open_[container]) {
    if (contents_.warnings.size() < kSentencesMax)
      contents_.warnings.push_back(
          sentence("the value ", quoted(name_), " holds itself: its inner copy is not read"));
    return {};
  }
  if (frames_.size() == limits::kPickleDepthMax) {
    return unsupported(0, sentence("its values lie in each other deeper than the limit of ",
                                   limits::kPickleDepthMax));
  }
  const Node& node = graph_[container];
  const auto cells = graph_.cells(container);
  Frame frame{.container = container, .items = {}, .next = cells.begin(), .end = cells.end()};
  frame.is_dict =
      node.kind == Kind::Dict || (node.kind == Kind::Object && node.fill == pickle::Fill::Items);
  if (frame.is_dict) {
    std::uint64_t pairs = 0;
    for (auto cell = cells.begin(); cell != cells.end(); ++cell) ++pairs;
    frame.items = items_of(graph_, container);
    visits_ += pairs / 2 - frame.items.size();  // keys that are set twice have no visit
  }
  if (!frame.is_dict && inside == Inside::Pairs) {
    frame.is_dict = true;
    for (const Ref pair : cells) {
      std::vector<Ref> parts;
      for (const Ref part : graph_.cells(pair)) {
        parts.push_back(part);
        if (parts.size() > 2) break;
      }
      if (parts.size() == 2) frame.items.emplace_back(parts[0], parts[1]);
    }
  }
  frame.way = way;
  frame.name_size = name_.size();
  frame.is_state = inside == Inside::State;
  open_[container] = true;
  frames_.push_back(std::move(frame));
  return {};
}

// The next value of the container that was entered last.
Decoded<void> Walk::step() {
  Frame& frame = frames_.back();
  name_.resize(frame.name_size);
  const bool ended = frame.is_dict ? frame.at == frame.items.size() : frame.next == frame.end;
  if (ended) {
    open_[frame.container] = false;
    frames_.pop_back();
    return {};
  }
  Step step{.before = frame.way.step};
  Way way = frame.way;
  Ref value = pickle::kNone;
  std::string key;
  bool is_silent = false;
  if (frame.is_dict) {
    value = frame.items[frame.at].second;
    step.key = frame.items[frame.at].first;
    if (!is_key(graph_[step.key].kind)) {
      ++frame.at;
      leave_out(way, "its key is no text and no number", Named::No);
      return {};
    }
    key = key_text(graph_, step.key);
    is_silent = frame.is_state && (key == "_parameters" || key == "_buffers" || key == "_modules");
  } else {
    value = *frame.next;
    ++frame.next;
    step.index = static_cast<std::uint32_t>(frame.at);
    step.is_index = true;
    key = std::to_string(step.index);
  }
  ++frame.at;
  CAIRN_CHECK(spend(key.size() + sizeof(Step)));
  if (name_.size() + key.size() >= limits::kNameBytesMax) {
    return unsupported(
        0, sentence("a name is longer than the limit of ", limits::kNameBytesMax, " bytes"));
  }
  if (!is_silent) {
    if (way.is_named) name_ += '.';
    name_ += key;
    way.is_named = true;
  }
  steps_.push_back(step);
  way.step = static_cast<std::uint32_t>(steps_.size() - 1);
  return visit(value, way);
}

// ---- Values -------------------------------------------------------------------------------------

Decoded<void> Walk::visit(Ref value, Way way) {
  if (++visits_ > limits::kPickleVisitsMax) {
    return unsupported(0, sentence("its pickle leads to more values than the limit of ",
                                   limits::kPickleVisitsMax));
  }
  switch (graph_[value].kind) {
    case Kind::List:
    case Kind::Tuple:
      if (is_long_list(value)) return add_long_list(value, way);
      return enter(value, way, Inside::Plain);
    case Kind::Dict:
      return enter(value, way, Inside::Plain);
    case Kind::Object:
      return visit_object(value, way);
    case Kind::Set:
      leave_out(way, "it is a set");
      return {};
    case Kind::Bytes:
      leave_out(way, "it is bytes");
      return {};
    case Kind::Global:
      leave_out(way, "it is a class or a function");
      return {};
    case Kind::Persistent:
      leave_out(way, "it is a storage, which is no tensor");
      return {};
    default:
      if (way.opaque) return {};
      return add_scalar(value, way);
  }
}

Decoded<void> Walk::visit_object(Ref object, Way way) {
  const Call call = tensors_.role_of(object);
  const Node& node = graph_[object];
  switch (call.role) {
    case Role::Tensor:
      // Columns have ends of 32 bits; more names than an index can have are refused where it is
      // made.
      if (is_plain_ && way.step != kTop &&
          contents_.plain.used().names_bytes < limits::kIndexBytesMax) {
        if (const auto plain = tensors_.scan(object)) return add_plain(*plain, way);
      }
      return add_tensor(tensors_.read(object), way);
    case Role::Array:
      return add_tensor(arrays_->read(object), way);
    case Role::Number:
      return visit_number(object, way);
    case Role::NotPlain:
      leave_out(way, sentence("it is ", call.what));
      return {};
    case Role::Dict:
    case Role::List:
      for (const Ref each : graph_.cells(node.b)) {
        const Kind kind = graph_[each].kind;
        if (kind != Kind::List && kind != Kind::Tuple && kind != Kind::Dict) continue;
        CAIRN_CHECK(enter(each, way, call.role == Role::Dict ? Inside::Pairs : Inside::Plain));
      }
      return graph_.cells(object).empty() ? Decoded<void>() : enter(object, way, Inside::Plain);
    case Role::Unknown:
      break;
  }
  leave_out(way, is_said(way)
                     ? sentence("it is an object of the class ", quoted(tensors_.class_of(object)),
                                ", which is not read, but for tensors that are its attributes")
                     : std::string());
  way.opaque = true;
  if (!graph_.cells(object).empty()) CAIRN_CHECK(enter(object, way, Inside::Plain));
  if (graph_.is(node.c, Kind::Dict)) return enter(node.c, way, Inside::State);
  return {};
}

Decoded<void> Walk::visit_number(Ref object, Way way) {
  auto text = arrays_->read_number(object);
  if (text) return add_metadata(*std::move(text), way);
  leave_out(way, text.error().what);
  return {};
}

Decoded<void> Walk::add_plain(const Tensors::PlainTensor& tensor, Way way) {
  const auto shape = tensor.shape.dims();
  CAIRN_CHECK(spend(kTensorCostBytes + name_.size() + 16 * shape.size()));
  contents_.plain.add(name_, tensor.dtype, shape, tensor.span);
  tensor_steps_.push_back(way.step);
  return {};
}

// From here on tensors are facts, those so far too.
void Walk::leave_plain() {
  if (!is_plain_) return;
  is_plain_ = false;
  append_stored(contents_.plain, contents_.tensors);
  contents_.plain = {};
}

Decoded<void> Walk::add_tensor(Decoded<StoredTensor> tensor, Way way) {
  if (!tensor) {
    DecodeError error = std::move(tensor).error();
    if (error.code == Code::Unsupported || !options_.whole) {
      leave_out_tensor(error.what);
      return {};
    }
    error.what = sentence("tensor ", quoted(name_), ": ", error.what);
    return error;
  }
  CAIRN_CHECK(spend(kTensorCostBytes + name_.size() + 16 * tensor->facts.shape.size()));
  leave_plain();
  tensor->facts.name = name_;
  contents_.tensors.push_back(*std::move(tensor));
  tensor_steps_.push_back(way.step);
  contents_.is_lone |= way.step == kTop && name_.empty();
  return {};
}

// ---- Metadata -----------------------------------------------------------------------------------

Decoded<void> Walk::add_scalar(Ref value, Way way) {
  // A pickle of 442 bytes can lead to a number of 300 digits a million times.
  if (metadata_left_bytes_ == 0) return add_metadata({}, way);
  if (auto text = scalar_text(value)) return add_metadata(*std::move(text), way);
  leave_out(way, sentence("it is an integer of ", graph_.text(value).size(),
                          " bytes, which are too many to write its digits"));
  return {};
}

// A text as it is, anything else as JSON. Nothing: an integer of too many digits.
std::optional<std::string> Walk::scalar_text(Ref value) const {
  const Node& node = graph_[value];
  switch (node.kind) {
    case Kind::None:
      return "null";
    case Kind::Bool:
      return node.integer == 1 ? "true" : "false";
    case Kind::Int:
      return std::to_string(node.integer);
    case Kind::Float:
      return pickle::float_text(node.number);
    case Kind::Long:
      return pickle::decimal_of(graph_.text(value));
    default:
      return std::string(graph_.text(value));
  }
}

// Of many numbers, which would be as many keys.
bool Walk::is_long_list(Ref list) {
  std::size_t count = 0;
  for (const Ref each : graph_.cells(list)) {
    if (graph_[each].kind > Kind::Float) return false;
    ++count;
  }
  if (count <= kListedMax) return false;
  visits_ += count / 100;
  return true;
}

// A JSON array.
Decoded<void> Walk::add_long_list(Ref list, Way way) {
  std::string text = "[";
  for (const Ref each : graph_.cells(list)) {
    const auto number = scalar_text(each);
    if (!number) {
      leave_out(way, "a number in it is an integer of too many digits");
      return {};
    }
    if (text.size() > 1) text += ',';
    text += *number;
  }
  return add_metadata(text + "]", way);
}

Decoded<void> Walk::add_metadata(std::string text, Way way) {
  if (way.opaque) return {};
  if (way.step == kTop && name_.empty()) {
    leave_out(way, "it is neither a tensor nor something that holds any");
    return {};
  }
  if (std::string_view(name_).starts_with(kReservedKeys)) {
    leave_out(way, "it is called as metadata of Cairn's own");
    return {};
  }
  const std::uint64_t cost = sizeof(KeyValues::value_type) + name_.size() + text.size();
  if (cost > metadata_left_bytes_) {
    metadata_left_bytes_ = 0;  // what follows is left out too, without being made
    leave_out(way, "it is one of more numbers and texts than a pickle of its size may have");
    return {};
  }
  metadata_left_bytes_ -= cost;
  contents_.metadata.emplace_back(name_, std::move(text));
  metadata_steps_.push_back(way.step);
  return {};
}

// ---- Names that are there twice -----------------------------------------------------------------

// The positions of the names, sorted by them; names that are there twice become pointers.
template <class NameOf>
std::vector<std::size_t> Walk::unique_names(std::size_t count, NameOf name_of,
                                            const std::vector<std::uint32_t>& steps,
                                            std::string_view kind) {
  const auto by_name = [&](std::size_t i) -> const std::string& { return name_of(i); };
  auto order = order_by_name(count, by_name);
  std::vector<std::size_t> twice;
  for (std::size_t i = 0; i < count; ++i) {
    const bool same = (i > 0 && by_name(order[i - 1]) == by_name(order[i])) ||
                      (i + 1 < count && by_name(order[i]) == by_name(order[i + 1]));
    if (same) twice.push_back(order[i]);
  }
  if (twice.empty()) return order;
  contents_.warnings.push_back(sentence(
      "several ", kind, " are called ", quoted(by_name(twice.front())),
      ", so that they are called by the ways that lead to them, as ",
      quoted(pointer_of(steps[twice.front()])), "; so are ", twice.size(), " ", kind, " in all"));
  for (const std::size_t i : twice) name_of(i) = pointer_of(steps[i]);
  order = order_by_name(count, by_name);
  std::vector<std::size_t> unique;
  for (const std::size_t i : order) {
    if (unique.empty() || by_name(unique.back()) != by_name(i)) {
      unique.push_back(i);
      continue;
    }
    name_ = by_name(i);
    leave_out({.step = 0}, sentence("it is one of several ", kind, " of that name"));
  }
  return unique;
}

// False: two of them have one name.
bool Walk::sort_plain() {
  const PlainTensors& all = contents_.plain;
  const auto order = order_by_name(all.size(), [&](std::size_t i) { return all.name(i); });
  const auto twice =
      std::ranges::adjacent_find(order, {}, [&](std::size_t i) { return all.name(i); });
  if (twice != order.end()) return false;
  contents_.plain = in_order(all, order);
  return true;
}

void Walk::name_tensors() {
  if (is_plain_ && sort_plain()) return;
  leave_plain();
  auto& all = contents_.tensors;
  const auto order = unique_names(
      all.size(), [&](std::size_t i) -> std::string& { return all[i].facts.name; }, tensor_steps_,
      "tensors");
  keep_in_order(all, order);
}

void Walk::name_metadata() {
  auto& all = contents_.metadata;
  const auto order = unique_names(
      all.size(), [&](std::size_t i) -> std::string& { return all[i].first; }, metadata_steps_,
      "numbers or texts");
  keep_in_order(all, order);
}

}  // namespace

Decoded<Contents> read_contents(const pickle::Pickle& pickle, const ReadOptions& options) {
  return Walk(pickle, options).run();
}

}  // namespace cairn::format::torch
