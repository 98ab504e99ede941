// Levenshtein's distance takes 15 µs for each name, so it is computed only for a few names: those
// that share the longest beginning and end with the requested name. Most mistakes are made in one
// place, and then only the mistake is between that beginning and that end.
//
// A name that contains the requested one (such as the last parts of an object's path) is near,
// whatever its length. One search finds these in all names.

#include "lib/read/nearest.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

namespace cairn::internal {
namespace {

constexpr std::size_t kNamesMax = 3;
constexpr std::size_t kSharedMax = 128;        // a third of so many bytes may differ, and no more
constexpr std::size_t kScreenedMax = 20'000;   // 40 ns each; of more names, the neighbours in order
constexpr std::size_t kMeasuredMax = 48;       // 4 µs each, with
constexpr std::size_t kMeasuredBytesMax = 48;  // what differs at most

struct Candidate {
  std::size_t far = 0;  // the distance, or a bound that it does not exceed
  std::size_t position = 0;
  friend auto operator<=>(const Candidate&, const Candidate&) = default;
};

// Levenshtein's distance in two rows.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      row[j + 1] = std::min({above + 1, row[j] + 1, changed});
      diagonal = above;
    }
  }
  return row.back();
}

// Eight bytes at a step: names of one model begin and end alike.
constexpr std::size_t kStep = 8;

std::size_t shared_beginning(std::string_view a, std::string_view b) noexcept {
  const std::size_t both = std::min(a.size(), b.size());
  std::size_t count = 0;
  while (both - count >= kStep && std::memcmp(&a[count], &b[count], kStep) == 0) count += kStep;
  while (count < both && a[count] == b[count]) ++count;
  return count;
}

std::size_t shared_end(std::string_view a, std::string_view b) noexcept {
  const std::size_t both = std::min(a.size(), b.size());
  a.remove_prefix(a.size() - both);
  b.remove_prefix(b.size() - both);
  std::size_t rest = both;
  while (rest >= kStep && std::memcmp(&a[rest - kStep], &b[rest - kStep], kStep) == 0)
    rest -= kStep;
  while (rest > 0 && a[rest - 1] == b[rest - 1]) --rest;
  return both - rest;
}

// What of a pair of names differs.
std::pair<std::string_view, std::string_view> without_shared(std::string_view a,
                                                             std::string_view b) noexcept {
  const std::size_t beginning = shared_beginning(a, b);
  a.remove_prefix(beginning);
  b.remove_prefix(beginning);
  const std::size_t end = shared_end(a, b);
  a.remove_suffix(end);
  b.remove_suffix(end);
  return {a, b};
}

class Search {
 public:
  Search(const format::IndexView& index, std::string_view name)
      : index_(index),
        name_(name),
        far_max_(std::max<std::size_t>(2, std::min(name.size(), kSharedMax) / 3)),
        finder_(name.begin(), name.end()) {}

  // Those that may be near, by their bounds.
  void screen() {
    const std::size_t count = index_.tensor_count();
    const std::size_t at = index_.lower_bound(name_);
    const std::size_t last = std::min(count, std::max(at, kScreenedMax / 2) + kScreenedMax / 2);
    for (std::size_t i = last - std::min(last, kScreenedMax); i < last; ++i) screen(i);
  }

  // The nearest of them.
  std::vector<Candidate> measure() {
    const auto keep = [](std::vector<Candidate>& candidates, std::size_t count) {
      const std::size_t kept = std::min(count, candidates.size());
      std::ranges::partial_sort(candidates, candidates.begin() + static_cast<std::ptrdiff_t>(kept));
      candidates.resize(kept);
    };
    keep(candidates_, kMeasuredMax);
    for (Candidate& candidate : candidates_) {
      const auto [a, b] = without_shared(name_, index_.tensor_name(candidate.position));
      if (a.size() <= kMeasuredBytesMax && b.size() <= kMeasuredBytesMax)
        candidate.far = std::min(candidate.far, distance(a, b));
    }
    std::erase_if(candidates_, [&](const Candidate& near) { return near.far > far_max_; });
    keep(candidates_, kNamesMax);
    return std::move(candidates_);
  }

 private:
  void screen(std::size_t position) {
    const std::string_view name = index_.tensor_name(position);
    const auto size_differs = static_cast<std::size_t>(std::max(name.size(), name_.size()) -
                                                       std::min(name.size(), name_.size()));
    if (name.size() > name_.size() &&
        std::search(name.begin(), name.end(), finder_) != name.end()) {
      candidates_.push_back({1, position});
    } else if (size_differs <= far_max_) {
      const auto [a, b] = without_shared(name_, name);
      candidates_.push_back({std::max(a.size(), b.size()), position});
    }
  }

  const format::IndexView& index_;
  const std::string_view name_;
  const std::size_t far_max_;
  const std::boyer_moore_horspool_searcher<std::string_view::const_iterator> finder_;
  std::vector<Candidate> candidates_;
};

}  // namespace

std::vector<std::string> nearest_names(const format::IndexView& index, std::string_view name) {
  Search search(index, name);
  search.screen();
  std::vector<std::string> names;
  for (const Candidate& near : search.measure())
    names.emplace_back(index.tensor_name(near.position));
  return names;
}

}  // namespace cairn::internal
