#pragma once

// Elements of less than a byte that share bytes, as ONNX and TensorFlow Lite store them.

#include <cstddef>
#include <optional>
#include <vector>

#include "cairn/checkpoint.h"

namespace cairn::tools {

// The dtype that these elements have where each has a byte of its own; nothing: they are not
// packed, or their type is known by its name only.
std::optional<DType> unpacked_dtype(const Tensor& tensor);

// The elements, a byte for each, in its low bits. Errors: those of Tensor::bytes.
Result<std::vector<std::byte>> unpacked(const Tensor& tensor);

}  // namespace cairn::tools
