#include "packed.h"

#include <algorithm>
#include <string_view>

namespace cairn::tools {
namespace {

struct Packed {
  std::string_view name;
  DType dtype;
};
constexpr Packed kPacked[] = {{"INT4", DType::Int4},
                              {"UINT4", DType::Uint4},
                              {"INT2", DType::Int2},
                              {"UINT2", DType::Uint2},
                              {"FLOAT4E2M1", DType::Float4E2M1FN}};

}  // namespace

std::optional<DType> unpacked_dtype(const Tensor& tensor) {
  const auto found = std::ranges::find(kPacked, tensor.dtype_name(), &Packed::name);
  const bool packed =
      tensor.dtype() == DType::Opaque && (tensor.element_bits() == 2 || tensor.element_bits() == 4);
  if (!packed || found == std::end(kPacked)) return std::nullopt;
  return found->dtype;
}

Result<std::vector<std::byte>> unpacked(const Tensor& tensor) {
  const auto bytes = tensor.bytes();
  if (!bytes) return bytes.error();
  const unsigned bits = tensor.element_bits();
  const unsigned per_byte = 8 / bits;
  std::vector<std::byte> elements(tensor.element_count());
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const unsigned shift = bits * static_cast<unsigned>(i % per_byte);
    elements[i] = (*bytes)[i / per_byte] >> shift & std::byte((1u << bits) - 1);
  }
  return elements;
}

}  // namespace cairn::tools
