#include "lib/store/nearest.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <utility>

namespace cairn::store {
namespace {

constexpr std::size_t kNamesMax = 3;
constexpr std::size_t kComparedBytesMax =
    128;  // longer names are compared by their ends, where they differ
constexpr std::size_t kCandidatesMax =
    20'000;  // about 50 ms; beyond that only the neighbours in order are compared
constexpr std::size_t kNeighbours = 500;

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

std::string_view compared(std::string_view name) noexcept {
  return name.size() <= kComparedBytesMax ? name : name.substr(name.size() - kComparedBytesMax);
}

}  // namespace

std::vector<std::string> nearest_names(const format::IndexView& index, std::string_view name) {
  std::size_t first = 0;
  std::size_t last = index.tensor_count();
  if (last > kCandidatesMax) {
    const std::size_t at = index.lower_bound(name);
    first = at > kNeighbours ? at - kNeighbours : 0;
    last = std::min(last, at + kNeighbours);
  }
  std::vector<std::pair<std::size_t, std::size_t>> found;  // distance, position
  found.reserve(last - first);
  for (std::size_t i = first; i < last; ++i) {
    const std::string_view candidate = index.tensor_name(i);
    const bool part = candidate.find(name) != std::string_view::npos;
    const std::size_t far = part ? 1 : distance(compared(name), compared(candidate));
    if (far <= std::max<std::size_t>(2, compared(name).size() / 3)) found.emplace_back(far, i);
  }
  const std::size_t count = std::min(kNamesMax, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end());
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.emplace_back(index.tensor_name(found[i].second));
  return names;
}

}  // namespace cairn::store
