#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "format/facts.h"

namespace cairn::format {

// Sorts by name. Writers tend to have done so: then nothing is moved. Facts are large, so each is
// moved once otherwise, and in place: memory for a second copy of all would be taken from the
// kernel page by page.
inline void sort_by_name(std::vector<TensorFacts>& tensors) {
  if (std::ranges::is_sorted(tensors, {}, &TensorFacts::name)) return;
  std::vector<std::size_t> from(tensors.size());
  std::iota(from.begin(), from.end(), std::size_t{0});
  std::ranges::sort(from, {}, [&](std::size_t i) -> const auto& { return tensors[i].name; });
  for (std::size_t start = 0; start < from.size(); ++start) {
    if (from[start] == start) continue;
    TensorFacts first = std::move(tensors[start]);
    std::size_t at = start;
    for (; from[at] != start; at = std::exchange(from[at], at))
      tensors[at] = std::move(tensors[from[at]]);
    tensors[at] = std::move(first);
    from[at] = at;
  }
}

// Of sorted ones the first whose name the next one has too; nullptr: all names differ.
inline const TensorFacts* find_twice(const std::vector<TensorFacts>& tensors) {
  const auto twice = std::ranges::adjacent_find(tensors, {}, &TensorFacts::name);
  return twice == tensors.end() ? nullptr : &*twice;
}

}  // namespace cairn::format
