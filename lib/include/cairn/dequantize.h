#pragma once

// Quantized tensors as numbers: those of a GGUF file, or of a checkpoint that was made from one.

#include <vector>

#include "cairn/error.h"
#include "cairn/export.h"
#include "cairn/tensor.h"

namespace cairn {

// Whether dequantize() knows the tensor's dtype: an Opaque one called Q4_0, Q4_1, Q5_0, Q5_1, Q8_0,
// Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL or MXFP4, in blocks as ggml has them.
CAIRN_API bool can_dequantize(const Tensor& tensor) noexcept;

// The elements of a quantized tensor, or of a slice of it, row-major, with the values that gguf-py
// computes in float32. Errors: those of Tensor::read(); Unsupported (can_dequantize() says no).
// Cost: the tensor's bytes are copied once, all of them for a slice too.
CAIRN_API Result<std::vector<float>> dequantize(const Tensor& tensor, Slice slice = {}) noexcept;

}  // namespace cairn
