#include "lib/edit/outgoing.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "cairn/object_graph.h"
#include "lib/edit/cast.h"
#include "lib/edit/fit.h"
#include "lib/edit/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"
#include "lib/write/layout.h"

namespace cairn::internal {
namespace {

constexpr std::string_view kVariableEnd = "/.ATTRIBUTES/VARIABLE_VALUE";

// Ascending.
Result<std::vector<std::size_t>> wanted_positions(const OpenCheckpoint& source,
                                                  const TransferOptions& options) {
  if (!options.tensors) {
    std::vector<std::size_t> all(source.index().tensor_count());
    std::iota(all.begin(), all.end(), std::size_t{0});
    return all;
  }
  std::set<std::size_t> wanted;
  for (const std::string& name : *options.tensors) {
    CAIRN_TRY(position, source.find(name));
    wanted.insert(position);
  }
  return std::vector<std::size_t>(wanted.begin(), wanted.end());
}

using NamesByKey = std::map<std::string, std::string, std::less<>>;

// What each variable is called, by its key. A full name that several have ("Variable", which is
// TensorFlow's own where a program gives none) names none of them.
NamesByKey variable_names(const ObjectGraph& graph, TensorNames wanted) {
  NamesByKey names;
  std::map<std::string_view, std::set<std::string_view>> keys_of;  // by full name
  for (const ObjectGraph::Node& node : graph.nodes) {
    for (const ObjectGraph::Attribute& attribute : node.attributes) {
      if (!attribute.key.ends_with(kVariableEnd)) continue;
      names.emplace(attribute.key,
                    attribute.key.substr(0, attribute.key.size() - kVariableEnd.size()));
      if (!attribute.full_name.empty()) keys_of[attribute.full_name].insert(attribute.key);
    }
  }
  if (wanted != TensorNames::Variable) return names;
  for (const auto& [full_name, keys] : keys_of) {
    if (keys.size() == 1) names.find(*keys.begin())->second = full_name;
  }
  return names;
}

// Errors: NotFound where there is no graph, in a sentence that says what to do.
Result<ObjectGraph> graph_of(const Checkpoint& source) {
  if (source.contains(kObjectGraphName)) return read_object_graph(source);
  return Error{Code::NotFound, 0,
               source.prefix().string() +
                   ": has no object graph, so its tensors have only the stored names; leave out "
                   "names (--names)"};
}

// The names that `options.names` gives. The object graph knows only the keys: it is left out.
Result<std::vector<std::string>> base_names(const Checkpoint& source,
                                            const TransferOptions& options,
                                            std::vector<std::size_t>& positions,
                                            Transfer& transfer) {
  const format::IndexView& index = OpenCheckpoint::of(source).index();
  NamesByKey variables;
  if (options.names != TensorNames::Stored) {
    CAIRN_TRY(graph, graph_of(source));
    variables = variable_names(graph, options.names);
    const auto is_graph = [&](std::size_t i) { return index.tensor_name(i) == kObjectGraphName; };
    if (std::erase_if(positions, is_graph) > 0) {
      transfer.not_nameable.emplace_back(kObjectGraphName);
      transfer.warnings.push_back("left out, because it has only the stored names: tensor \"" +
                                  std::string(kObjectGraphName) + "\"");
    }
  }
  std::vector<std::string> names;
  names.reserve(positions.size());
  for (const std::size_t i : positions) {
    const auto variable = variables.find(index.tensor_name(i));
    names.emplace_back(variable == variables.end() ? index.tensor_name(i) : variable->second);
  }
  return names;
}

}  // namespace

std::vector<OutgoingTensor> as_stored(const format::IndexView& index,
                                      std::span<const std::size_t> positions) {
  std::vector<OutgoingTensor> tensors;
  tensors.reserve(positions.size());
  for (const std::size_t i : positions) tensors.push_back({i, spec_of(index.tensor(i))});
  return tensors;
}

std::vector<TensorSpec> specs_of(std::span<const OutgoingTensor> tensors) {
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const OutgoingTensor& tensor : tensors) specs.push_back(tensor.spec);
  return specs;
}

Result<std::vector<OutgoingTensor>> outgoing_tensors(const Checkpoint& source, Format target,
                                                     const TransferOptions& options,
                                                     Transfer& transfer) {
  const OpenCheckpoint& opened = OpenCheckpoint::of(source);
  const format::IndexView& index = opened.index();
  CAIRN_TRY(positions, wanted_positions(opened, options));
  CAIRN_TRY(names, base_names(source, options, positions, transfer));
  if (options.names != TensorNames::Stored || !options.renaming.empty()) {
    NamesRequest request{source.prefix(), index, positions, std::move(names)};
    request.graph_is_kept = fits({std::string(kObjectGraphName), DType::String, {}}, target);
    CAIRN_TRY(renamed, new_names(std::move(request), options.renaming));
    names = std::move(renamed);
  }
  std::vector<OutgoingTensor> tensors = as_stored(index, positions);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (names[i] != tensors[i].spec.name)
      transfer.renamed.push_back({tensors[i].spec.name, names[i]});
    tensors[i].spec.name = std::move(names[i]);
  }
  CAIRN_CHECK(apply_casts(source.prefix(), options.casts, tensors, transfer));
  const auto by_name = [](const OutgoingTensor& tensor) -> const std::string& {
    return tensor.spec.name;
  };
  if (!transfer.renamed.empty()) std::ranges::sort(tensors, {}, by_name);
  return tensors;
}

}  // namespace cairn::internal
