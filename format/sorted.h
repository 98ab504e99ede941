#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/facts.h"
#include "format/le.h"
#include "format/plain_tensors.h"

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

// The eight bytes of a name from `at` on, as a number that sorts as they do.
inline std::uint64_t sort_key(std::string_view name, std::size_t at) noexcept {
  std::array<std::byte, 8> bytes{};
  const std::string_view part = name.substr(at, bytes.size());
  std::memcpy(bytes.data(), part.data(), part.size());
  return __builtin_bswap64(load_le<std::uint64_t>(bytes.data()));
}

// The positions of so many names, sorted by them; equal names by their positions. The names of a
// model begin alike, so they are compared behind that, and first by eight bytes at once.
template <class NameOf>
std::vector<std::size_t> order_by_name(std::size_t count, NameOf name_of) {
  struct Entry {
    std::uint64_t key;
    std::size_t position;
  };
  const auto name = [&](std::size_t i) { return std::string_view(name_of(i)); };
  std::string_view alike = count == 0 ? std::string_view() : name(0);
  for (std::size_t i = 1; i < count && !alike.empty(); ++i) {
    const std::string_view other = name(i);
    const auto end = std::ranges::mismatch(alike, other).in1;
    alike = alike.substr(0, static_cast<std::size_t>(end - alike.begin()));
  }
  std::vector<Entry> entries(count);
  for (std::size_t i = 0; i < count; ++i) entries[i] = {sort_key(name(i), alike.size()), i};
  std::ranges::sort(entries, [&](const Entry& a, const Entry& b) {
    if (a.key != b.key) return a.key < b.key;
    const auto order = name(a.position) <=> name(b.position);
    return order == 0 ? a.position < b.position : order < 0;
  });
  std::vector<std::size_t> positions(count);
  std::ranges::transform(entries, positions.begin(), &Entry::position);
  return positions;
}

// Sorts by name. Writers tend to have done so: then nothing is moved.
inline void sort_by_name(std::vector<TensorFacts>& tensors) {
  if (std::ranges::is_sorted(tensors, {}, &TensorFacts::name)) return;
  reorder(tensors, order_by_name(tensors.size(), [&](std::size_t i) -> const std::string& {
            return tensors[i].name;
          }));
}

// Those at these positions, in their order.
template <class Positions>
PlainTensors in_order(const PlainTensors& all, const Positions& order) {
  PlainTensors sorted(all.used());
  for (const auto i : order) sorted.add(all, i);
  return sorted;
}

// Of sorted ones the first whose name the next one has too; nullptr: all names differ.
inline const TensorFacts* find_twice(const std::vector<TensorFacts>& tensors) {
  const auto twice = std::ranges::adjacent_find(tensors, {}, &TensorFacts::name);
  return twice == tensors.end() ? nullptr : &*twice;
}

}  // namespace cairn::format
