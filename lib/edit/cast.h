#pragma once

// Values in another floating-point dtype, rounded once.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "cairn/cast.h"
#include "cairn/convert.h"
#include "cairn/error.h"
#include "lib/edit/outgoing.h"

namespace cairn::internal {

struct CastTally {
  std::uint64_t became_infinite = 0;
  std::uint64_t became_zero = 0;
};

// Gives `to` the values of `from`, as cairn/cast.h describes. Both are whole values in the byte
// order of the machine, equally many.
CastTally cast_values(const Cast& cast, std::span<const std::byte> from,
                      std::span<std::byte> to) noexcept;

// Gives the tensors their new dtypes, and `transfer` a row for each cast; a warning where no tensor
// has the dtype. Errors: Invalid (a dtype is cast twice, or to itself), Unsupported (another
// dtype).
Result<void> apply_casts(const std::filesystem::path& path, std::span<const Cast> casts,
                         std::span<OutgoingTensor> tensors, Transfer& transfer);

// The warnings about values that became infinite or zero.
void warn_of_casts(const std::filesystem::path& path, Transfer& transfer);

}  // namespace cairn::internal
