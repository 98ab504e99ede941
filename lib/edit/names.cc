#include "lib/edit/names.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "cairn/object_graph.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sorted.h"
#include "lib/edit/pattern.h"
#include "lib/read/nearest.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// Names on their way.
class Names {
 public:
  explicit Names(NamesRequest request)
      : request_(std::move(request)), to_(request_.names), fixed_(to_.size()) {}

  Result<void> apply(const Renaming& renaming);
  Result<void> check() const;
  std::vector<std::string> take() { return std::move(to_); }

 private:
  Error error(Code code, const std::string& what) const {
    return {code, 0, request_.path.string() + ": " + what};
  }
  // Of the tensor in its index, for messages.
  std::string quoted(std::size_t i) const {
    return format::quoted(request_.index.tensor_name(request_.positions[i]));
  }
  Result<void> set(const std::vector<NameChange>& changes);
  Result<void> strip(const std::string& prefix);
  Result<void> replace(const NameChange& change);
  Result<void> check_length(std::size_t i) const;
  Result<void> check_unique() const;
  std::vector<std::size_t> by_name(const std::vector<std::string>& names) const;

  const NamesRequest request_;
  std::vector<std::string> to_;  // parallel to the tensors
  std::vector<bool> fixed_;      // renamed by name: patterns leave it alone
};

Result<void> Names::apply(const Renaming& renaming) {
  CAIRN_CHECK(set(renaming.names));
  if (!renaming.strip_prefix.empty()) CAIRN_CHECK(strip(renaming.strip_prefix));
  for (const NameChange& pattern : renaming.patterns) CAIRN_CHECK(replace(pattern));
  return {};
}

// The tensors in the order of these names.
std::vector<std::size_t> Names::by_name(const std::vector<std::string>& names) const {
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto less = [&](std::size_t a, std::size_t b) {
    return std::tie(names[a], a) < std::tie(names[b], b);
  };
  if (!std::ranges::is_sorted(names)) std::ranges::sort(order, less);
  return order;
}

Result<void> Names::set(const std::vector<NameChange>& changes) {
  if (changes.empty()) return {};
  const std::vector<std::size_t> order = by_name(request_.names);
  const auto name = [&](std::size_t i) -> const std::string& { return request_.names[i]; };
  for (const NameChange& change : changes) {
    const auto at = std::ranges::lower_bound(order, change.from, {}, name);
    if (at == order.end() || name(*at) != change.from) {
      std::string nearest;
      for (const std::string& similar : nearest_names(request_.index, change.from))
        nearest += (nearest.empty() ? "; similar names: " : ", ") + format::quoted(similar);
      return error(Code::NotFound, "no tensor " + format::quoted(change.from) + nearest);
    }
    if (fixed_[*at])
      return error(Code::Invalid, "tensor " + format::quoted(change.from) +
                                      " is renamed twice; give it one new name");
    to_[*at] = change.to;
    fixed_[*at] = true;
  }
  return {};
}

Result<void> Names::strip(const std::string& prefix) {
  bool found = false;
  for (std::size_t i = 0; i < to_.size(); ++i) {
    if (fixed_[i] || !to_[i].starts_with(prefix)) continue;
    found = true;
    to_[i].erase(0, prefix.size());
  }
  if (found) return {};
  return error(Code::NotFound, "no tensor's name begins with " + format::quoted(prefix));
}

Result<void> Names::replace(const NameChange& change) {
  CAIRN_TRY(pattern, Pattern::compile(change));
  bool matched = false;
  for (std::size_t i = 0; i < to_.size(); ++i) {
    if (fixed_[i]) continue;
    auto replaced = pattern.replaced(to_[i]);
    if (!replaced) continue;
    matched = true;
    to_[i] = *std::move(replaced);
    CAIRN_CHECK(check_length(i));
  }
  if (matched) return {};
  return error(Code::NotFound, "no tensor's name matches " + format::quoted(change.from));
}

Result<void> Names::check_length(std::size_t i) const {
  if (to_[i].size() <= format::limits::kNameBytesMax) return {};
  return error(Code::Invalid, "tensor " + quoted(i) +
                                  " would get a name of more than the limit of " +
                                  std::to_string(format::limits::kNameBytesMax) + " bytes");
}

Result<void> Names::check() const {
  const auto position = request_.index.find(kObjectGraphName);
  const bool graph_is_kept = request_.graph_is_kept && position &&
                             std::ranges::binary_search(request_.positions, *position);
  for (std::size_t i = 0; i < to_.size(); ++i) {
    const std::string_view from = request_.index.tensor_name(request_.positions[i]);
    if (to_[i] == from) continue;
    if (to_[i].empty())
      return error(Code::Invalid, "tensor " + quoted(i) + " would get an empty name");
    CAIRN_CHECK(check_length(i));
    if (graph_is_kept && from.find("/.ATTRIBUTES/") != std::string_view::npos) {
      return error(Code::Unsupported,
                   "tensor " + quoted(i) +
                       " cannot be renamed: TensorFlow finds it by this name, which is in the "
                       "object graph " +
                       std::string(kObjectGraphName) +
                       "; 'cairn convert --names full' writes other names, without the graph");
    }
  }
  return check_unique();
}

Result<void> Names::check_unique() const {
  const std::vector<std::size_t> order = by_name(to_);
  const auto name = [&](std::size_t i) -> const std::string& { return to_[i]; };
  const auto twice = std::ranges::adjacent_find(order, {}, name);
  if (twice == order.end()) return {};
  return error(Code::Exists, "tensors " + quoted(*twice) + " and " + quoted(*(twice + 1)) +
                                 " would both get the name " + format::quoted(to_[*twice]));
}

void disown(const format::Span& span, format::IndexFacts& facts) {
  format::ShardKind& kind = facts.shards[span.shard].kind;
  if (kind == format::ShardKind::Universal) kind = format::ShardKind::Headerless;
}

}  // namespace

Result<std::vector<std::string>> new_names(NamesRequest request, const Renaming& renaming) {
  Names names(std::move(request));
  CAIRN_CHECK(names.apply(renaming));
  CAIRN_CHECK(names.check());
  return names.take();
}

Result<std::vector<NameChange>> changes_of(const std::filesystem::path& path,
                                           const format::IndexView& index,
                                           const Renaming& renaming) {
  if (renaming.empty())
    return Error{Code::Invalid, 0,
                 path.string() + ": no name, prefix or pattern to rename is given"};
  std::vector<std::size_t> positions(index.tensor_count());
  std::iota(positions.begin(), positions.end(), std::size_t{0});
  std::vector<std::string> from;
  from.reserve(positions.size());
  for (const std::size_t i : positions) from.emplace_back(index.tensor_name(i));
  CAIRN_TRY(to, new_names({path, index, positions, from}, renaming));
  std::vector<NameChange> changes;
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (to[i] != from[i]) changes.push_back({std::move(from[i]), std::move(to[i])});
  }
  return changes;
}

void apply(std::span<const NameChange> changes, format::IndexFacts& facts) {
  auto tensor = facts.tensors.begin();
  for (const NameChange& change : changes) {
    while (tensor->name != change.from) ++tensor;  // both are in the order of the old names
    tensor->name = change.to;
    if (tensor->slices.empty()) disown(tensor->span, facts);
    for (const format::SliceFacts& slice : tensor->slices) disown(slice.span, facts);
    ++tensor;
  }
  format::sort_by_name(facts.tensors);
}

}  // namespace cairn::internal
