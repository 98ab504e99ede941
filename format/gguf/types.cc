#include "format/gguf/types.h"

#include <algorithm>
#include <array>

namespace cairn::format::gguf {
namespace {

using enum DType;

// Q8_1 has 36 bytes in ggml; gguf-py says 40, and no file holds it.
constexpr auto kTypes = std::to_array<Type>({
    {0, "F32", Float32, {}},
    {1, "F16", Float16, {}},
    {2, "Q4_0", Opaque, {32, 18}},
    {3, "Q4_1", Opaque, {32, 20}},
    {6, "Q5_0", Opaque, {32, 22}},
    {7, "Q5_1", Opaque, {32, 24}},
    {8, "Q8_0", Opaque, {32, 34}},
    {9, "Q8_1", Opaque, {32, 36}},
    {10, "Q2_K", Opaque, {256, 84}},
    {11, "Q3_K", Opaque, {256, 110}},
    {12, "Q4_K", Opaque, {256, 144}},
    {13, "Q5_K", Opaque, {256, 176}},
    {14, "Q6_K", Opaque, {256, 210}},
    {15, "Q8_K", Opaque, {256, 292}},
    {16, "IQ2_XXS", Opaque, {256, 66}},
    {17, "IQ2_XS", Opaque, {256, 74}},
    {18, "IQ3_XXS", Opaque, {256, 98}},
    {19, "IQ1_S", Opaque, {256, 50}},
    {20, "IQ4_NL", Opaque, {32, 18}},
    {21, "IQ3_S", Opaque, {256, 110}},
    {22, "IQ2_S", Opaque, {256, 82}},
    {23, "IQ4_XS", Opaque, {256, 136}},
    {24, "I8", Int8, {}},
    {25, "I16", Int16, {}},
    {26, "I32", Int32, {}},
    {27, "I64", Int64, {}},
    {28, "F64", Float64, {}},
    {29, "IQ1_M", Opaque, {256, 56}},
    {30, "BF16", Bfloat16, {}},
    {34, "TQ1_0", Opaque, {256, 54}},
    {35, "TQ2_0", Opaque, {256, 66}},
    {39, "MXFP4", Opaque, {32, 17}},
    {40, "NVFP4", Opaque, {64, 36}},
    {41, "Q1_0", Opaque, {128, 18}},
    {42, "Q2_0", Opaque, {64, 18}},
});

const Type* found(decltype(kTypes)::const_iterator at) noexcept {
  return at == kTypes.end() ? nullptr : at;
}

}  // namespace

const Type* type_of(std::uint32_t number) noexcept {
  return found(std::ranges::find(kTypes, number, &Type::number));
}

const Type* type_named(std::string_view name) noexcept {
  return found(std::ranges::find(kTypes, name, &Type::name));
}

}  // namespace cairn::format::gguf
