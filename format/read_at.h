#pragma once

// How a decoder reads a file that is not in memory.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "format/decode_error.h"

namespace cairn::format {

// Fills `out` from the file's byte `offset_bytes` on. What is asked for lies inside the file.
using ReadAt = std::function<Decoded<void>(std::uint64_t offset_bytes, std::span<std::byte> out)>;

}  // namespace cairn::format
