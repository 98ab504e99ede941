#pragma once

// Numbers by names. A sorted list instead of a hash table: it is made once, takes one allocation,
// and names that somebody chose for their hashes make it no slower than any others.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::format {

class NameIndex {
 public:
  explicit NameIndex(std::size_t count) { entries_.reserve(count); }

  // The name's bytes stay where they are, as long as this lives. A name may be added again.
  void add(std::string_view name, std::uint32_t value) {
    entries_.push_back({std::hash<std::string_view>()(name), name, value});
  }

  // After the last add(), and before what follows.
  void sort() { std::ranges::sort(entries_); }

  // The lowest of the name's values; nothing: it has none.
  std::optional<std::uint32_t> find(std::string_view name) const {
    const auto found =
        std::ranges::lower_bound(entries_, Entry{std::hash<std::string_view>()(name), name, 0});
    if (found == entries_.end() || found->name != name) return std::nullopt;
    return found->value;
  }

  // Visits each value, and the lowest of its name's.
  template <class Visit>
  void for_each(Visit visit) const {
    const Entry* first = nullptr;
    for (const Entry& entry : entries_) {
      if (first == nullptr || first->hash != entry.hash || first->name != entry.name)
        first = &entry;
      visit(entry.value, first->value);
    }
  }

  // One that was added more than once; nothing: none was.
  std::optional<std::string_view> find_twice() const {
    const auto twice = std::ranges::adjacent_find(
        entries_, {}, [](const Entry& entry) { return std::pair(entry.hash, entry.name); });
    if (twice == entries_.end()) return std::nullopt;
    return twice->name;
  }

 private:
  struct Entry {
    std::size_t hash = 0;
    std::string_view name;
    std::uint32_t value = 0;
    bool operator==(const Entry&) const = default;
    auto operator<=>(const Entry&) const = default;
  };
  std::vector<Entry> entries_;
};

}  // namespace cairn::format
