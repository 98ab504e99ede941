#pragma once

// Which addresses files are mapped at, so that the handler of a SigbusGuard knows its own faults
// from others'.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace cairn::os {

// A place in the list. It is never given back to the system: the handler may look at it at any
// time.
struct GuardedSlot {
  std::atomic<bool> taken{false};
  std::atomic<std::uint32_t> version{0};  // odd while the next two change
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};  // begin == end: nothing
  std::atomic<bool> writable{false};
  std::atomic<std::uint32_t> faults{0};
};

enum class PageAccess : std::uint8_t { ReadOnly, Writable };

// Lists a mapping as long as it lives: from behind its mmap to before its munmap. `range` is not
// empty. Cost: nanoseconds, and no lock.
class GuardedRange {
 public:
  GuardedRange(std::span<const std::byte> range, PageAccess access);
  GuardedRange(const GuardedRange&) = delete;
  GuardedRange& operator=(const GuardedRange&) = delete;
  ~GuardedRange();

  // Whether a page of it was replaced. Ask any_faulted() first.
  bool faulted() const noexcept { return slot_.faults.load(std::memory_order_acquire) != 0; }

 private:
  GuardedSlot& slot_;
};

// What find_guarded found.
struct GuardedPlace {
  GuardedSlot* slot = nullptr;
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

// The listed range that holds the address. May be called in a signal handler.
std::optional<GuardedPlace> find_guarded(std::uintptr_t address) noexcept;

// Whether any page of any mapping was ever replaced: one load, where nothing is wrong. Whatever was
// read from a mapping before is covered by the answer, since the handler marks it before it
// replaces.
inline std::atomic<bool> page_replaced{false};
inline bool any_faulted() noexcept {
  std::atomic_thread_fence(std::memory_order_acquire);
  return page_replaced.load(std::memory_order_acquire);
}

}  // namespace cairn::os
