#pragma once

// Which parts of what was written between two flushes reach the disk: every choice that a drive is
// free to make, or a sample of them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "block_log.h"

namespace power {

// How fine a drive tears a write.
enum class Tear : std::uint32_t { No = 0, Block = 4096, Sector = 512 };

// The writes of an epoch, cut where they may tear. Each entry lies within one write.
std::vector<Entry> cut(std::span<const Entry> writes, Tear tear);

// Which of the pieces arrived.
using Choice = std::vector<bool>;

// Whether all choices are no more than `count_max`.
bool exhaustible(std::size_t pieces, std::size_t count_max);

// Calls `look` for all choices where they are exhaustible; else for `count_max`: half of them each
// prefix, all but one, one alone, as many as find room; the others random.
void for_each_choice(std::size_t pieces, std::size_t count_max, std::mt19937_64& random,
                     const std::function<void(const Choice&)>& look);

}  // namespace power
