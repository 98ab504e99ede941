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
#include "lib/edit/pattern.h"
#include "lib/read/nearest.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// The names of one index on their way.
class Names {
 public:
  Names(const std::filesystem::path& path, const format::IndexView& index)
      : path_(path), index_(index), to_(index.tensor_count()), fixed_(index.tensor_count()) {
    for (std::size_t i = 0; i < to_.size(); ++i) to_[i] = index.tensor_name(i);
  }

  Result<void> set(const NameChange& change);
  Result<void> replace(const NameChange& change);
  Result<void> check() const;
  std::vector<NameChange> changes() const;

 private:
  Error error(Code code, const std::string& what) const {
    return {code, 0, path_.string() + ": " + what};
  }
  Result<void> check_length(std::size_t i) const;
  Result<void> check_unique() const;

  const std::filesystem::path& path_;
  const format::IndexView& index_;
  std::vector<std::string> to_;  // parallel to the tensors
  std::vector<bool> fixed_;      // renamed by name: patterns leave it alone
};

Result<void> Names::set(const NameChange& change) {
  const auto position = index_.find(change.from);
  if (!position) {
    std::string nearest;
    for (const std::string& name : nearest_names(index_, change.from))
      nearest += (nearest.empty() ? "; similar names: " : ", ") + format::quoted(name);
    return error(Code::NotFound, "no tensor " + format::quoted(change.from) + nearest);
  }
  if (fixed_[*position])
    return error(Code::Invalid, "tensor " + format::quoted(change.from) +
                                    " is renamed twice; give it one new name");
  to_[*position] = change.to;
  fixed_[*position] = true;
  return {};
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
  return error(Code::Invalid, "tensor " + format::quoted(index_.tensor_name(i)) +
                                  " would get a name of more than the limit of " +
                                  std::to_string(format::limits::kNameBytesMax) + " bytes");
}

Result<void> Names::check() const {
  const bool object_based = index_.find(kObjectGraphName).has_value();
  for (std::size_t i = 0; i < to_.size(); ++i) {
    const std::string_view from = index_.tensor_name(i);
    if (to_[i] == from) continue;
    if (to_[i].empty())
      return error(Code::Invalid, "tensor " + format::quoted(from) + " would get an empty name");
    CAIRN_CHECK(check_length(i));
    if (object_based && from.find("/.ATTRIBUTES/") != std::string_view::npos) {
      return error(Code::Unsupported,
                   "tensor " + format::quoted(from) +
                       " cannot be renamed: TensorFlow finds it by this name, which is in the " +
                       "object graph " + std::string(kObjectGraphName));
    }
  }
  return check_unique();
}

Result<void> Names::check_unique() const {
  std::vector<std::size_t> order(to_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto name = [&](std::size_t i) -> const std::string& { return to_[i]; };
  const auto by_name = [&](std::size_t a, std::size_t b) {
    return std::tie(to_[a], a) < std::tie(to_[b], b);
  };
  if (!std::ranges::is_sorted(to_)) std::ranges::sort(order, by_name);
  const auto twice = std::ranges::adjacent_find(order, {}, name);
  if (twice == order.end()) return {};
  return error(Code::Exists, "tensors " + format::quoted(index_.tensor_name(*twice)) + " and " +
                                 format::quoted(index_.tensor_name(*(twice + 1))) +
                                 " would both get the name " + format::quoted(to_[*twice]));
}

std::vector<NameChange> Names::changes() const {
  std::vector<NameChange> changes;
  for (std::size_t i = 0; i < to_.size(); ++i) {
    if (to_[i] != index_.tensor_name(i))
      changes.push_back({std::string(index_.tensor_name(i)), to_[i]});
  }
  return changes;
}

void disown(const format::Span& span, format::IndexFacts& facts) {
  format::ShardKind& kind = facts.shards[span.shard].kind;
  if (kind == format::ShardKind::Universal) kind = format::ShardKind::Headerless;
}

}  // namespace

Result<std::vector<NameChange>> changes_of(const std::filesystem::path& path,
                                           const format::IndexView& index,
                                           const Renaming& renaming) {
  if (renaming.names.empty() && renaming.patterns.empty())
    return Error{Code::Invalid, 0, path.string() + ": no name or pattern to rename is given"};
  Names names(path, index);
  for (const NameChange& change : renaming.names) CAIRN_CHECK(names.set(change));
  for (const NameChange& pattern : renaming.patterns) CAIRN_CHECK(names.replace(pattern));
  CAIRN_CHECK(names.check());
  return names.changes();
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
  if (!std::ranges::is_sorted(facts.tensors, {}, &format::TensorFacts::name))
    std::ranges::sort(facts.tensors, {}, &format::TensorFacts::name);
}

}  // namespace cairn::internal
