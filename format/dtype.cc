#include "format/dtype.h"

#include <algorithm>
#include <array>

namespace cairn::format {

namespace {

// Which readers of safetensors know a dtype.
enum class Known : std::uint8_t { None, All, Newest };

// One line per dtype, and everything else in this file is a look-up in it. `bytes` and `swap` are
// as in element_bytes() and swap_bytes(), 0 where those give nothing.
struct Row {
  DType dtype;
  std::string_view name;
  std::uint32_t bytes;
  std::uint32_t swap;
  DType storage;
  std::string_view safetensors;
  Known known;
};

using enum DType;
using enum Known;

constexpr auto kRows = std::to_array<Row>({
    {Invalid, "invalid", 0, 0, Invalid, "", None},
    {Float32, "float32", 4, 4, Float32, "F32", All},
    {Float64, "float64", 8, 8, Float64, "F64", All},
    {Int32, "int32", 4, 4, Int32, "I32", All},
    {Uint8, "uint8", 1, 1, Uint8, "U8", All},
    {Int16, "int16", 2, 2, Int16, "I16", All},
    {Int8, "int8", 1, 1, Int8, "I8", All},
    {String, "string", 0, 1, String, "", None},
    {Complex64, "complex64", 8, 4, Complex64, "C64", Newest},
    {Int64, "int64", 8, 8, Int64, "I64", All},
    {Bool, "bool", 1, 1, Uint8, "BOOL", All},
    {Qint8, "qint8", 1, 1, Int8, "", None},
    {Quint8, "quint8", 1, 1, Uint8, "", None},
    {Qint32, "qint32", 4, 4, Int32, "", None},
    {Bfloat16, "bfloat16", 2, 2, Bfloat16, "BF16", All},
    {Qint16, "qint16", 2, 2, Int16, "", None},
    {Quint16, "quint16", 2, 2, Uint16, "", None},
    {Uint16, "uint16", 2, 2, Uint16, "U16", All},
    {Complex128, "complex128", 16, 8, Complex128, "", None},
    {Float16, "float16", 2, 2, Float16, "F16", All},
    {Resource, "resource", 0, 0, Resource, "", None},
    {Variant, "variant", 0, 0, Variant, "", None},
    {Uint32, "uint32", 4, 4, Uint32, "U32", All},
    {Uint64, "uint64", 8, 8, Uint64, "U64", All},
    {Float8E5M2, "float8_e5m2", 1, 0, Uint8, "F8_E5M2", All},
    {Float8E4M3FN, "float8_e4m3fn", 1, 0, Uint8, "F8_E4M3", All},
    {Float8E4M3FNUZ, "float8_e4m3fnuz", 1, 0, Uint8, "F8_E4M3FNUZ", Newest},
    {Float8E4M3B11FNUZ, "float8_e4m3b11fnuz", 1, 0, Uint8, "", None},
    {Float8E5M2FNUZ, "float8_e5m2fnuz", 1, 0, Uint8, "F8_E5M2FNUZ", Newest},
    {Int4, "int4", 1, 0, Uint8, "", None},
    {Uint4, "uint4", 1, 0, Uint8, "", None},
    {Int2, "int2", 1, 0, Uint8, "", None},
    {Uint2, "uint2", 1, 0, Uint8, "", None},
    {Float4E2M1FN, "float4_e2m1fn", 1, 0, Uint8, "", None},
});

struct OpaqueRow {
  std::string_view safetensors;
  std::uint16_t bits;
};
constexpr auto kOpaqueRows =
    std::to_array<OpaqueRow>({{"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F8_E8M0", 8}});

constexpr Row kOpaque = {Opaque, "opaque", 0, 0, Opaque, "", None};

constexpr bool rows_stand_at_their_numbers() {
  for (std::size_t number = 0; number < kRows.size(); ++number) {
    if (static_cast<std::size_t>(kRows[number].dtype) != number) return false;
  }
  return true;
}
static_assert(rows_stand_at_their_numbers());

const Row& row(DType dtype) noexcept {
  if (dtype == Opaque) return kOpaque;
  const auto number = static_cast<std::size_t>(dtype);
  return number < kRows.size() ? kRows[number] : kRows.front();
}

}  // namespace

constinit const std::array<std::uint8_t, 256> kRawBytes = [] {
  std::array<std::uint8_t, 256> bytes{};
  for (const Row& each : kRows) {
    bytes[static_cast<std::size_t>(each.dtype)] = static_cast<std::uint8_t>(each.bytes);
  }
  return bytes;
}();

bool storable(DType dtype) noexcept {
  const DType known = row(dtype).dtype;
  return known != Invalid && known != Resource && known != Opaque;
}

std::optional<DType> dtype_from_number(std::uint64_t number) noexcept {
  if (number == 0 || number >= kRows.size()) return std::nullopt;
  return kRows[number].dtype;
}

DType storage_dtype(DType dtype) noexcept { return row(dtype).storage; }

std::optional<std::uint32_t> swap_bytes(DType dtype) noexcept {
  const std::uint32_t bytes = row(dtype).swap;
  return bytes == 0 ? std::nullopt : std::optional(bytes);
}

std::optional<std::uint16_t> opaque_bits_from_safetensors(std::string_view name) noexcept {
  const auto found = std::ranges::find(kOpaqueRows, name, &OpaqueRow::safetensors);
  return found == kOpaqueRows.end() ? std::nullopt : std::optional(found->bits);
}

std::string_view safetensors_name(DType dtype, bool for_writing) noexcept {
  const Row& found = row(dtype);
  return for_writing && found.known == Newest ? std::string_view() : found.safetensors;
}

std::optional<DType> dtype_from_safetensors(std::string_view name) noexcept {
  if (name.empty()) return std::nullopt;
  const auto found = std::ranges::find(kRows, name, &Row::safetensors);
  return found == kRows.end() ? std::nullopt : std::optional(found->dtype);
}

}  // namespace cairn::format

namespace cairn {

std::string_view name(DType dtype) noexcept { return format::row(dtype).name; }

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  const auto found = std::ranges::find(format::kRows, name, &format::Row::name);
  if (found == format::kRows.end() || found->dtype == DType::Invalid) return std::nullopt;
  return found->dtype;
}

std::uint32_t element_bytes(DType dtype) noexcept { return format::row(dtype).bytes; }

}  // namespace cairn
