#pragma once

// Models of noise: the demo and the benchmarks write them.

#include <cstdint>
#include <filesystem>
#include <vector>

#include "cairn/error.h"
#include "cairn/tensor.h"

namespace cairn::tools {

// The 148 tensors of the smallest GPT-2 (124 million parameters, 498 MB).
std::vector<TensorSpec> gpt2_tensors();

std::uint64_t size_bytes(const std::vector<TensorSpec>& specs);

// Writes a checkpoint of these tensors through cairn::Writer, full of bytes that no file system can
// compress or share; the same bytes in each run. Errors: those of Writer.
Result<void> write_noise(const std::filesystem::path& prefix, const std::vector<TensorSpec>& specs);

}  // namespace cairn::tools
