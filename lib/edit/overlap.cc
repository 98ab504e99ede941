// Boxes are sorted along one dimension, and each is compared with those that start before it ends.
// The dimension is the one in which most of them start elsewhere: partitioned tensors are cut along
// one, so that a box meets a few neighbours. Files can be made in which every box meets all others;
// comparing is given up long before that takes minutes.

#include "lib/edit/overlap.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

namespace cairn::edit {
namespace {

constexpr std::size_t kComparisonsMax = 20'000'000;  // about a second

std::size_t widest_dimension(std::span<const SourceBox> boxes) {
  std::size_t widest = 0;
  std::size_t most = 0;
  for (std::size_t d = 0; d < boxes.front().box.size(); ++d) {
    std::set<std::int64_t> starts;
    for (const SourceBox& each : boxes) starts.insert(each.box[d].start);
    if (starts.size() <= most) continue;
    most = starts.size();
    widest = d;
  }
  return widest;
}

// Two equal slices have the same key in TensorFlow's index, even without an element.
bool meet(const SourceBox& a, const SourceBox& b) {
  if (a.source == b.source) return false;
  const auto equal = [](const Range& left, const Range& right) {
    return left.start == right.start && left.count == right.count;
  };
  return std::ranges::equal(a.box, b.box, equal) || store::intersection(a.box, b.box);
}

}  // namespace

Result<std::optional<std::pair<std::size_t, std::size_t>>> overlap(
    std::span<const SourceBox> boxes) {
  using Pair = std::pair<std::size_t, std::size_t>;
  if (boxes.empty()) return std::optional<Pair>();
  const bool scalar = boxes.front().box.empty();
  const std::size_t along = scalar ? 0 : widest_dimension(boxes);
  const auto start = [&](std::size_t i) { return scalar ? 0 : boxes[i].box[along].start; };
  const auto end = [&](std::size_t i) {
    return scalar ? 1 : start(i) + std::max<std::int64_t>(boxes[i].box[along].count, 1);
  };
  std::vector<std::size_t> order(boxes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, start);
  std::size_t comparisons = 0;
  for (std::size_t a = 0; a < order.size(); ++a) {
    for (std::size_t b = a + 1; b < order.size() && start(order[b]) < end(order[a]); ++b) {
      if (meet(boxes[order[a]], boxes[order[b]])) return std::optional(Pair{order[a], order[b]});
      if (++comparisons < kComparisonsMax) continue;
      return Error{Code::Unsupported, 0,
                   std::to_string(boxes.size()) + " slices lie so that comparing them all would " +
                       "take too long"};
    }
  }
  return std::optional<Pair>();
}

}  // namespace cairn::edit
