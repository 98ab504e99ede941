#pragma once

// Values of ggml's quantized types, as gguf-py computes them in float32: bit for bit, but for the
// payload of a NaN. FORMAT.md, "GGUF".

#include <cstddef>
#include <string_view>

#include "format/facts.h"

namespace cairn::format::gguf {

inline constexpr std::size_t kBlockElementsMax = 256;

// Writes the elements of one block.
using DequantizeBlock = void (*)(const std::byte* block, float* out);

// Of the type of this name, where its blocks are these; nullptr: none is known.
DequantizeBlock dequantizer_of(std::string_view type, Block block) noexcept;

}  // namespace cairn::format::gguf
