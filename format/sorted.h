#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "format/facts.h"

namespace cairn::format {

// Puts what was at from[i] at i. In place: facts are large, and memory for a second copy of all
// would be taken from the kernel page by page.
template <class T>
void reorder(std::vector<T>& all, std::vector<std::size_t> from) {
  for (std::size_t start = 0; start < from.size(); ++start) {
    if (from[start] == start) continue;
    T first = std::move(all[start]);
    std::size_t at = start;
    for (; from[at] != start; at = std::exchange(from[at], at)) all[at] = std::move(all[from[at]]);
    all[at] = std::move(first);
    from[at] = at;
  }
}

// Keeps what is at the places of `order`, none of them twice, in its order.
template <class T>
void keep_in_order(std::vector<T>& all, const std::vector<std::size_t>& order) {
  if (order.size() == all.size()) return reorder(all, order);
  std::vector<T> kept;
  kept.reserve(order.size());
  for (const std::size_t i : order) kept.push_back(std::move(all[i]));
  all = std::move(kept);
}

// Sorts by name. Writers tend to have done so: then nothing is moved.
inline void sort_by_name(std::vector<TensorFacts>& tensors) {
  if (std::ranges::is_sorted(tensors, {}, &TensorFacts::name)) return;
  std::vector<std::size_t> from(tensors.size());
  std::iota(from.begin(), from.end(), std::size_t{0});
  std::ranges::sort(from, {}, [&](std::size_t i) -> const auto& { return tensors[i].name; });
  reorder(tensors, std::move(from));
}

// Of sorted ones the first whose name the next one has too; nullptr: all names differ.
inline const TensorFacts* find_twice(const std::vector<TensorFacts>& tensors) {
  const auto twice = std::ranges::adjacent_find(tensors, {}, &TensorFacts::name);
  return twice == tensors.end() ? nullptr : &*twice;
}

}  // namespace cairn::format
