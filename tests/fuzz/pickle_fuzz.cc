// The pickle machine: a program, whole and by its head. What it makes is a graph that holds
// together.

#include "format/pickle/machine.h"
#include "format/pickle/text.h"
#include "fuzz.h"

using namespace cairn;
namespace pickle = cairn::format::pickle;

namespace {

bool is_text(pickle::Kind kind) {
  return kind == pickle::Kind::Text || kind == pickle::Kind::Bytes || kind == pickle::Kind::Long ||
         kind == pickle::Kind::LongText;
}

void demand_consistent(const pickle::Pickle& made, std::size_t size) {
  const pickle::Graph& graph = made.graph;
  fuzz::demand(made.size_bytes <= size, "the program ends inside its bytes");
  fuzz::demand(graph.size() <= 4 + 3 * size, "few values for its bytes");
  fuzz::demand(made.root < graph.size(), "the result is a value");
  std::size_t cells = 0;
  for (pickle::Ref value = 0; value < graph.size(); ++value) {
    const pickle::Node& node = graph[value];
    fuzz::demand(node.a < std::max(value, 1u) && node.b < std::max(value, 1u),
                 "what a value is made of was there before it");
    fuzz::demand(node.c < graph.size(), "a state is a value");
    for (const pickle::Ref each : graph.cells(value)) {
      fuzz::demand(each < graph.size(), "what is held is a value");
      fuzz::demand(node.kind != pickle::Kind::Tuple || each < value, "a tuple is filled at once");
      ++cells;
    }
    fuzz::demand(cells <= 2 * size, "few cells for its bytes");
    if (is_text(node.kind))
      fuzz::demand(graph.text(value).size() <= 4 * size, "a text of the bytes");
    if (node.kind == pickle::Kind::Long) pickle::decimal_of(graph.text(value));
    if (node.kind == pickle::Kind::Float) pickle::float_text(node.number);
    if (node.kind == pickle::Kind::Global)
      fuzz::demand(is_text(graph[node.a].kind) && is_text(graph[node.b].kind), "names are texts");
  }
  for (const pickle::Ref each : made.persistent)
    fuzz::demand(graph.is(each, pickle::Kind::Persistent), "every persistent value is one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::byte> bytes = fuzz::bytes_of(fuzz::text_of(data, size));
  const auto whole = pickle::decode(bytes, pickle::Input::Whole);
  const auto head = pickle::decode(bytes, pickle::Input::Head);
  fuzz::demand(!whole || whole->has_value(), "what is whole has a result or an error");
  fuzz::demand(whole || !head || !head->has_value(), "a result is one in both");
  if (whole) demand_consistent(**whole, size);
  return 0;
}
