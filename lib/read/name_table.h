#pragma once

// Positions of an index's tensors by their names: a hash table, made when it pays.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "format/cairn/index.h"

namespace cairn::internal {

// Threads: any. The index must outlive it.
class NameTable {
 public:
  explicit NameTable(const format::IndexView& index) noexcept : index_(index) {}
  NameTable(const NameTable&) = delete;
  NameTable& operator=(const NameTable&) = delete;
  ~NameTable();

  // The position of the tensor of this name. The first look-ups are binary searches. The look-up
  // after tensors / 16 of them makes the table, which takes 32 to 64 bytes for each tensor.
  std::optional<std::size_t> find(std::string_view name) const noexcept;

 private:
  // A slot says where the name lies, so that the name and the tensor's record are fetched from
  // memory at the same time.
  struct Slot {
    std::uint32_t tag = 0;         // of the name's hash
    std::uint32_t behind = 0;      // the position + 1; 0: the slot is free
    std::uint32_t name_begin = 0;  // in IndexView::names()
    std::uint32_t name_bytes = 0;
  };
  using Slots = std::vector<Slot>;  // their number is a power of two; at most half are taken

  std::optional<std::size_t> find_in(const Slots& slots, std::string_view name) const noexcept;
  std::unique_ptr<const Slots> make() const;

  const format::IndexView& index_;
  mutable std::atomic<std::size_t> look_ups_{0};
  mutable std::atomic<const Slots*> slots_{nullptr};
};

}  // namespace cairn::internal
