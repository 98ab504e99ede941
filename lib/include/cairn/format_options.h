#pragma once

#include <optional>

#include "cairn/dtype.h"

namespace cairn {

// How a file of another format is read where its format leaves that open. If any of these is set,
// the file is read itself, and not the FILE.cairn beside it; a warning says so.
struct FormatOptions {
  // npy and npz. numpy saves most dtypes of the package ml_dtypes as bytes without a type ('V1',
  // 'V2'). This is the dtype of the arrays that are saved so and whose elements have its size.
  // Nothing: 'V2' is bfloat16, and others have only numpy's name.
  std::optional<DType> void_dtype = {};
  // PyTorch. True: a tensor that repeats its elements (expand) takes as much memory as its shape
  // needs, at most half of what is available, else open returns OutOfMemory. False: if that is more
  // than 64 times the stored bytes, the tensor is left out, with a warning.
  bool expand = false;

  friend bool operator==(const FormatOptions&, const FormatOptions&) = default;
};

}  // namespace cairn
