#include "format/torch/dtypes.h"

#include <algorithm>
#include <array>

namespace cairn::format::torch {
namespace {

constexpr std::array kDtypes = {
    TorchDtype{"float32", "FloatStorage", DType::Float32, 4, 3},
    TorchDtype{"float64", "DoubleStorage", DType::Float64, 8, 7},
    TorchDtype{"float16", "HalfStorage", DType::Float16, 2, 1},
    TorchDtype{"bfloat16", "BFloat16Storage", DType::Bfloat16, 2, 1},
    TorchDtype{"int64", "LongStorage", DType::Int64, 8},
    TorchDtype{"int32", "IntStorage", DType::Int32, 4},
    TorchDtype{"int16", "ShortStorage", DType::Int16, 2},
    TorchDtype{"int8", "CharStorage", DType::Int8, 1},
    TorchDtype{"uint8", "ByteStorage", DType::Uint8, 1},
    TorchDtype{"bool", "BoolStorage", DType::Bool, 1},
    TorchDtype{"complex64", "ComplexFloatStorage", DType::Complex64, 8, 3, true},
    TorchDtype{"complex128", "ComplexDoubleStorage", DType::Complex128, 16, 7, true},
    TorchDtype{"uint16", "", DType::Uint16, 2},
    TorchDtype{"uint32", "", DType::Uint32, 4},
    TorchDtype{"uint64", "", DType::Uint64, 8},
    TorchDtype{"float8_e4m3fn", "", DType::Float8E4M3FN, 1},
    TorchDtype{"float8_e5m2", "", DType::Float8E5M2, 1},
    TorchDtype{"float8_e4m3fnuz", "", DType::Float8E4M3FNUZ, 1},
    TorchDtype{"float8_e5m2fnuz", "", DType::Float8E5M2FNUZ, 1},
    TorchDtype{"complex32", "", DType::Opaque, 4, 1, true, "complex32"},
    TorchDtype{"float8_e8m0fnu", "", DType::Opaque, 1, 0, false, "F8_E8M0"},
    // Two elements in a byte, and a shape that counts bytes.
    TorchDtype{"float4_e2m1fn_x2", "", DType::Opaque, 1, 0, false, "F4"},
};

// Of bytes, which a tensor's own dtype tells apart.
constexpr std::string_view kUntyped = "UntypedStorage";

}  // namespace

const TorchDtype* dtype_named(std::string_view name) noexcept {
  const auto* const found = std::ranges::find(kDtypes, name, &TorchDtype::name);
  return found == kDtypes.end() ? nullptr : found;
}

const TorchDtype* dtype_of_storage(std::string_view storage) noexcept {
  if (storage == kUntyped) return dtype_named("uint8");
  if (storage.empty()) return nullptr;
  const auto* const found = std::ranges::find(kDtypes, storage, &TorchDtype::storage);
  return found == kDtypes.end() ? nullptr : found;
}

}  // namespace cairn::format::torch
