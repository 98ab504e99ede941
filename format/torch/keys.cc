#include "format/torch/keys.h"

#include <string_view>
#include <unordered_map>

#include "format/pickle/text.h"
#include "format/sorted.h"

namespace cairn::format::torch {

using pickle::Graph;
using pickle::Kind;
using pickle::Node;
using pickle::Ref;

namespace {

// Of items whose keys are equal texts the first alone, with the value of the last. The texts come
// with the positions of their items, which ascend.
void keep_last(const std::vector<std::pair<std::string_view, std::size_t>>& texts, Items& items) {
  const auto text = [&](std::size_t i) { return texts[i].first; };
  const auto order = order_by_name(texts.size(), text);
  std::vector<bool> again(items.size());
  bool any = false;
  std::size_t first = 0;
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (text(order[i]) != text(order[first])) {
      first = i;
      continue;
    }
    items[texts[order[first]].second].second = items[texts[order[i]].second].second;
    again[texts[order[i]].second] = any = true;
  }
  if (!any) return;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!again[i]) items[kept++] = items[i];
  }
  items.resize(kept);
}

}  // namespace

std::string key_text(const Graph& graph, Ref key) {
  const Node& node = graph[key];
  switch (node.kind) {
    case Kind::Text:
    case Kind::LongText:
      return std::string(graph.text(key));
    case Kind::Int:
      return std::to_string(node.integer);
    case Kind::Long:
      return pickle::decimal_of(graph.text(key)).value_or("");
    case Kind::Bool:
      return node.integer == 1 ? "True" : "False";
    case Kind::None:
      return "None";
    default:
      return {};
  }
}

bool is_key(Kind kind) noexcept {
  return kind == Kind::Text || kind == Kind::Int || kind == Kind::Bool || kind == Kind::None ||
         kind == Kind::Long || kind == Kind::LongText;
}

Items items_of(const Graph& graph, Ref dict) {
  Items items;
  std::vector<std::pair<std::string_view, std::size_t>> texts;
  std::unordered_map<std::string, std::size_t> others;
  Ref key = pickle::kNone;
  bool is_key_next = true;
  for (const Ref value : graph.cells(dict)) {
    is_key_next = !is_key_next;
    if (!is_key_next) {
      key = value;
      continue;
    }
    const Kind kind = graph[key].kind;
    std::size_t position = items.size();
    if (kind == Kind::Text) {
      texts.emplace_back(graph.text(key), position);
    } else if (is_key(kind)) {
      position = others.emplace(key_text(graph, key), position).first->second;
    }
    if (position == items.size()) items.emplace_back(key, value);
    items[position].second = value;
  }
  keep_last(texts, items);
  return items;
}

}  // namespace cairn::format::torch
