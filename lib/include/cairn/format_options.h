#pragma once

#include <optional>

#include "cairn/dtype.h"

namespace cairn {

// How a file of another format is read, if its format does not decide it. If any of these is set,
// the file itself is read, and not the index FILE.cairn that an import wrote beside it; a warning
// says so.
struct FormatOptions {
  // npy and npz. numpy saves most dtypes of the package ml_dtypes as bytes without a type ('V1',
  // 'V2'). This dtype is given to such arrays if their elements have its size. std::nullopt: 'V2'
  // is bfloat16, and others are opaque, under numpy's name.
  std::optional<DType> void_dtype = {};
  // PyTorch. True: a tensor that repeats its elements (expand) takes as much memory as its shape
  // needs, at most half of what is available, else open returns OutOfMemory. False: if that is more
  // than 64 times the stored bytes, the tensor is left out, with a warning.
  bool expand = false;
  // safetensors. True: a header of more than 100,000,000 bytes, which the safetensors library
  // refuses, is read; at most 1 GiB of it. False: open returns Corrupt.
  bool large_header = false;

  friend bool operator==(const FormatOptions&, const FormatOptions&) = default;
};

}  // namespace cairn
