#pragma once

// Between a tensor of C, which is passed by value, and one of C++.

#include "cairn/c/tensor.h"
#include "cairn/tensor.h"

namespace cairn::c {

Tensor tensor_of(cairn_tensor tensor) noexcept;
cairn_tensor tensor_to_c(Tensor tensor) noexcept;

}  // namespace cairn::c
