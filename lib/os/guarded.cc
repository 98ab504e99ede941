// The list is read by a signal handler, so it has no lock, and nothing in it is ever freed: slots
// in chunks, each chunk leading to the next. A slot says by its version whether its two addresses
// belong together, as a seqlock does. A slot that is changing while the handler looks at it is
// skipped: who faults is inside a mapping that he keeps alive, and such a slot stands still.

#include "lib/os/guarded.h"

#include <array>
#include <memory>

namespace cairn::os {
namespace {

constexpr std::size_t kChunkSlots = 64;

struct Chunk {
  std::atomic<std::size_t> taken{0};
  std::array<GuardedSlot, kChunkSlots> slots;
  std::atomic<Chunk*> next{nullptr};
};

constinit Chunk first_chunk;

// A slot of a chunk that has room: another thread may be quicker, but one is there.
GuardedSlot& take_slot(Chunk& chunk) noexcept {
  while (true) {
    for (GuardedSlot& slot : chunk.slots) {
      if (slot.taken.load(std::memory_order_relaxed)) continue;
      if (!slot.taken.exchange(true, std::memory_order_acquire)) return slot;
    }
  }
}

Chunk& next_chunk(Chunk& chunk) {
  if (Chunk* next = chunk.next.load(std::memory_order_acquire)) return *next;
  auto fresh = std::make_unique<Chunk>();
  Chunk* there = nullptr;
  if (chunk.next.compare_exchange_strong(there, fresh.get(), std::memory_order_acq_rel))
    return *fresh.release();
  return *there;
}

GuardedSlot& take_slot() {
  for (Chunk* chunk = &first_chunk;; chunk = &next_chunk(*chunk)) {
    if (chunk->taken.fetch_add(1, std::memory_order_acquire) < kChunkSlots)
      return take_slot(*chunk);
    chunk->taken.fetch_sub(1, std::memory_order_relaxed);
  }
}

void give_back(GuardedSlot& slot) noexcept {
  for (Chunk* chunk = &first_chunk; chunk != nullptr;
       chunk = chunk->next.load(std::memory_order_acquire)) {
    if (&slot < chunk->slots.data() || &slot >= chunk->slots.data() + kChunkSlots) continue;
    slot.taken.store(false, std::memory_order_release);
    chunk->taken.fetch_sub(1, std::memory_order_release);
    return;
  }
}

// Each store is a release and each load an acquire: who sees an address sees the version before it.
void set_range(GuardedSlot& slot, std::uintptr_t begin, std::size_t size_bytes) noexcept {
  const std::uint32_t version = slot.version.load(std::memory_order_relaxed);
  slot.version.store(version + 1, std::memory_order_release);
  slot.begin.store(begin, std::memory_order_release);
  slot.end.store(begin + size_bytes, std::memory_order_release);
  slot.version.store(version + 2, std::memory_order_release);
}

std::optional<GuardedPlace> place_of(GuardedSlot& slot) noexcept {
  const std::uint32_t version = slot.version.load(std::memory_order_acquire);
  const GuardedPlace place{&slot, slot.begin.load(std::memory_order_acquire),
                           slot.end.load(std::memory_order_acquire)};
  if (version % 2 != 0 || slot.version.load(std::memory_order_relaxed) != version)
    return std::nullopt;
  return place;
}

}  // namespace

GuardedRange::GuardedRange(std::span<const std::byte> range, PageAccess access)
    : slot_(take_slot()) {
  slot_.faults.store(0, std::memory_order_relaxed);
  slot_.writable.store(access == PageAccess::Writable, std::memory_order_relaxed);
  set_range(slot_, reinterpret_cast<std::uintptr_t>(range.data()), range.size());
}

GuardedRange::~GuardedRange() {
  set_range(slot_, 0, 0);
  give_back(slot_);
}

std::optional<GuardedPlace> find_guarded(std::uintptr_t address) noexcept {
  for (Chunk* chunk = &first_chunk; chunk != nullptr;
       chunk = chunk->next.load(std::memory_order_acquire)) {
    for (GuardedSlot& slot : chunk->slots) {
      const auto place = place_of(slot);
      if (place && place->begin <= address && address < place->end) return place;
    }
  }
  return std::nullopt;
}

}  // namespace cairn::os
