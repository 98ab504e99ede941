#include "lib/read/name_table.h"

#include <bit>
#include <new>

#include "format/digest.h"

namespace cairn::internal {
namespace {

// The table is made after one look-up for so many tensors.
constexpr std::size_t kTensorsPerLookUp = 16;

// If a slot is taken, the next free one is used: a chain of slots. Somebody can choose names whose
// hashes make long chains. Then there is no table, and look-ups stay binary searches. For 100,000
// other names the longest chain is 30.
constexpr std::size_t kChainMax = 256;

std::size_t home_of(std::uint64_t hash, std::size_t slot_count) noexcept {
  return hash & (slot_count - 1);
}
std::uint32_t tag_of(std::uint64_t hash) noexcept { return static_cast<std::uint32_t>(hash >> 32); }

}  // namespace

NameTable::~NameTable() { delete slots_.load(std::memory_order_acquire); }

std::optional<std::size_t> NameTable::find(std::string_view name) const noexcept {
  if (const Slots* slots = slots_.load(std::memory_order_acquire)) return find_in(*slots, name);
  // Exactly one look-up makes the table; the others go on meanwhile.
  const std::size_t look_ups = look_ups_.fetch_add(1, std::memory_order_relaxed);
  if (look_ups != index_.tensor_count() / kTensorsPerLookUp) return index_.find(name);
  try {
    slots_.store(make().release(), std::memory_order_release);
  } catch (const std::bad_alloc&) {
    // Without a table, look-ups are slower, and their results are the same.
  }
  return index_.find(name);
}

std::optional<std::size_t> NameTable::find_in(const Slots& slots,
                                              std::string_view name) const noexcept {
  const std::uint64_t hash = format::xxh3_64(name);
  const std::uint32_t tag = tag_of(hash);
  const std::string_view names = index_.names();
  for (std::size_t at = home_of(hash, slots.size());; at = (at + 1) & (slots.size() - 1)) {
    const Slot& slot = slots[at];
    if (slot.behind == 0) return std::nullopt;
    if (slot.tag != tag) continue;
    index_.prefetch_tensor(slot.behind - 1);
    if (names.substr(slot.name_begin, slot.name_bytes) == name) return slot.behind - 1;
  }
}

// nullptr: a chain is too long.
std::unique_ptr<const NameTable::Slots> NameTable::make() const {
  const std::size_t count = index_.tensor_count();
  auto slots = std::make_unique<Slots>(std::bit_ceil(2 * count + 1));
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view name = index_.tensor_name(i);
    const std::uint64_t hash = format::xxh3_64(name);
    std::size_t at = home_of(hash, slots->size());
    std::size_t chain = 0;
    while ((*slots)[at].behind != 0) {
      at = (at + 1) & (slots->size() - 1);
      if (++chain > kChainMax) return nullptr;
    }
    const auto begin = static_cast<std::uint32_t>(name.data() - index_.names().data());
    (*slots)[at] = {tag_of(hash), static_cast<std::uint32_t>(i + 1), begin,
                    static_cast<std::uint32_t>(name.size())};
  }
  return slots;
}

}  // namespace cairn::internal
