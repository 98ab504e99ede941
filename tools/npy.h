#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cairn/dtype.h"

namespace cairn::tools {

// numpy's description of a dtype of fixed size, "<f4". Types that numpy does not know (bfloat16,
// the narrow floats) are void of their width, as the package ml_dtypes writes them: view the loaded
// array as the type. Empty: there is none.
std::string_view npy_description(DType dtype);

// The header of an .npy file, version 1.0 (2.0 where the shape needs more than 64 KiB), padded so
// that the data behind it is aligned to 64 bytes.
std::string npy_header(std::string_view description, std::span<const std::int64_t> shape);

}  // namespace cairn::tools
