#include "format/pickle/graph.h"

#include "format/le.h"

namespace cairn::format::pickle {

namespace {

bool has_cells(Kind kind) noexcept {
  return kind == Kind::List || kind == Kind::Tuple || kind == Kind::Set || kind == Kind::Dict ||
         kind == Kind::Object;
}

bool has_text(Kind kind) noexcept {
  return kind == Kind::Text || kind == Kind::Bytes || kind == Kind::Long || kind == Kind::LongText;
}

}  // namespace

Graph::Graph(std::span<const std::byte> bytes) : bytes_(bytes) {
  cells_.add({});
  add({.kind = Kind::None});
  add({.kind = Kind::Bool});
  add({.kind = Kind::Bool, .integer = 1});
  add({.kind = Kind::Tuple});
}

std::string_view Graph::text(Ref value) const noexcept {
  const Node& node = nodes_[value];
  if (!has_text(node.kind)) return {};
  const std::string_view all = node.owned ? std::string_view(owned_) : as_text(bytes_);
  return all.substr(node.text.offset, node.text.size);
}

bool Graph::names(Ref value, std::string_view module, std::string_view name) const noexcept {
  const Node& node = nodes_[value];
  return node.kind == Kind::Global && text(node.b) == name && text(node.a) == module;
}

Graph::Cells Graph::cells(Ref value) const noexcept {
  const Node& node = nodes_[value];
  return {&cells_, has_cells(node.kind) ? node.cells.first : 0};
}

Ref Graph::add_text(Kind kind, std::uint64_t offset, std::uint64_t size) {
  Node node{.kind = kind};
  node.text = {static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(size)};
  return add(node);
}

Ref Graph::add_owned_text(Kind kind, std::string_view text) {
  const Ref value = add_text(kind, owned_.size(), text.size());
  nodes_[value].owned = true;
  owned_ += text;
  return value;
}

// The cells of one call follow each other.
void Graph::append(Ref to, std::span<const Ref> values) {
  if (values.empty()) return;
  const std::uint32_t first = cells_.size();
  for (std::size_t i = 0; i + 1 < values.size(); ++i) cells_.add({values[i], cells_.size() + 1});
  const std::uint32_t last = cells_.add({values.back(), 0});
  Node& node = nodes_[to];
  if (node.cells.first == 0) {
    node.cells.first = first;
  } else {
    cells_[node.cells.last].next = first;
  }
  node.cells.last = last;
}

}  // namespace cairn::format::pickle
