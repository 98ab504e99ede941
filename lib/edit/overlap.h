#pragma once

// Whether slices of one tensor that come from different checkpoints meet.

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "cairn/error.h"
#include "lib/store/slices.h"

namespace cairn::edit {

struct SourceBox {
  store::Box box;
  std::size_t source = 0;
};

// Positions of two boxes from different sources that are equal or share an element; nothing: none
// are. `boxes` are of one tensor. Unsupported: too many to compare, as no real checkpoint has.
Result<std::optional<std::pair<std::size_t, std::size_t>>> overlap(
    std::span<const SourceBox> boxes);

}  // namespace cairn::edit
