#pragma once

// PyTorch's element types, by their own names and by those of the storages that hold them.

#include <cstdint>
#include <string_view>

#include "cairn/dtype.h"

namespace cairn::format::torch {

struct TorchDtype {
  std::string_view name;     // "float32", of the module torch
  std::string_view storage;  // "FloatStorage"; empty: it has none of its own
  DType dtype = DType::Opaque;
  std::uint32_t bytes = 0;    // of an element
  std::uint32_t sign_at = 0;  // the byte of an element, or of a complex one's half, with its sign;
                              // 0: no bit can be turned to negate it
  bool is_complex = false;    // two halves: the real and the imaginary one
  std::string_view opaque = {};  // of Opaque: what the dtype is called
};

// nullptr: not known, as those of quantized tensors.
const TorchDtype* dtype_named(std::string_view name) noexcept;
const TorchDtype* dtype_of_storage(std::string_view storage) noexcept;

}  // namespace cairn::format::torch
