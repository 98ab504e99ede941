// Tensors, which C passes by value: the bits of a cairn::Tensor.

#include <bit>
#include <type_traits>

#include "lib/c/boundary.h"
#include "lib/c/tensor.h"

namespace cairn::c {

static_assert(std::is_trivially_copyable_v<Tensor> && sizeof(Tensor) == sizeof(cairn_tensor));

Tensor tensor_of(cairn_tensor tensor) noexcept { return std::bit_cast<Tensor>(tensor); }
cairn_tensor tensor_to_c(Tensor tensor) noexcept { return std::bit_cast<cairn_tensor>(tensor); }

namespace {

template <class Byte, class Pointer>
Result<void> give(Result<std::span<Byte>> bytes, Pointer* data, std::size_t* size) {
  if (!bytes) return std::move(bytes).error();
  *data = bytes->data();
  if (size != nullptr) *size = bytes->size();
  return {};
}

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

cairn_string cairn_tensor_name(cairn_tensor tensor) { return string_of(tensor_of(tensor).name()); }

cairn_dtype cairn_tensor_dtype(cairn_tensor tensor) {
  return dtype_to_c(tensor_of(tensor).dtype());
}

cairn_string cairn_tensor_dtype_name(cairn_tensor tensor) {
  return string_of(tensor_of(tensor).dtype_name());
}

std::size_t cairn_tensor_rank(cairn_tensor tensor) { return tensor_of(tensor).shape().size(); }

const std::int64_t* cairn_tensor_shape(cairn_tensor tensor) {
  return tensor_of(tensor).shape().data();
}

const std::int64_t* cairn_tensor_strides(cairn_tensor tensor) {
  const auto strides = tensor_of(tensor).strides();
  return strides.empty() ? nullptr : strides.data();
}

std::uint64_t cairn_tensor_size_bytes(cairn_tensor tensor) {
  return tensor_of(tensor).size_bytes();
}

std::uint64_t cairn_tensor_element_count(cairn_tensor tensor) {
  return tensor_of(tensor).element_count();
}

std::uint32_t cairn_tensor_element_bits(cairn_tensor tensor) {
  return tensor_of(tensor).element_bits();
}

cairn_code cairn_tensor_block(cairn_tensor tensor, std::uint32_t* block_elements,
                              std::uint32_t* block_bytes, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(spec, tensor_of(tensor).spec());
    *block_elements = spec.opaque.block_elements;
    *block_bytes = spec.opaque.block_bytes;
    return {};
  });
}

bool cairn_tensor_partitioned(cairn_tensor tensor) { return tensor_of(tensor).partitioned(); }

cairn_string cairn_tensor_shard(cairn_tensor tensor) {
  return string_of(tensor_of(tensor).shard());
}

std::uint64_t cairn_tensor_offset_bytes(cairn_tensor tensor) {
  return tensor_of(tensor).offset_bytes();
}

bool cairn_tensor_crc32c(cairn_tensor tensor, std::uint32_t* crc32c) {
  const auto stored = tensor_of(tensor).crc32c();
  if (stored) *crc32c = *stored;
  return stored.has_value();
}

bool cairn_tensor_content_hash(cairn_tensor tensor, std::uint8_t hash[16]) {
  const auto stored = tensor_of(tensor).content_hash();
  if (stored) std::memcpy(hash, stored->bytes.data(), stored->bytes.size());
  return stored.has_value();
}

cairn_code cairn_tensor_bytes(cairn_tensor tensor, const void** bytes, std::size_t* size_bytes,
                              cairn_error** error) {
  return guarded(error, [&] { return give(tensor_of(tensor).bytes(), bytes, size_bytes); });
}

cairn_code cairn_tensor_strided_bytes(cairn_tensor tensor, const void** bytes,
                                      std::size_t* size_bytes, cairn_error** error) {
  return guarded(error, [&] { return give(tensor_of(tensor).strided_bytes(), bytes, size_bytes); });
}

cairn_code cairn_tensor_mutable_bytes(cairn_tensor tensor, void** bytes, std::size_t* size_bytes,
                                      cairn_error** error) {
  return guarded(error, [&] { return give(tensor_of(tensor).mutable_bytes(), bytes, size_bytes); });
}

cairn_code cairn_tensor_read(cairn_tensor tensor, const cairn_slice* slice, void* out,
                             std::size_t size_bytes, cairn_error** error) {
  return guarded(error, [&] {
    return tensor_of(tensor).read({static_cast<std::byte*>(out), size_bytes}, ranges_of(slice));
  });
}

cairn_code cairn_tensor_read_bytes(cairn_tensor tensor, const cairn_slice* slice,
                                   std::size_t* size_bytes, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(size, tensor_of(tensor).read_bytes(ranges_of(slice)));
    *size_bytes = size;
    return {};
  });
}

cairn_code cairn_tensor_strings(cairn_tensor tensor, const cairn_slice* slice,
                                cairn_strings** strings, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(values, tensor_of(tensor).strings(ranges_of(slice)));
    std::vector<cairn_string> views;
    views.reserve(values.size());
    for (const std::string_view value : values) views.push_back(string_of(value));
    *strings = new_strings({}, std::move(views));
    return {};
  });
}

bool cairn_tensor_can_dequantize(cairn_tensor tensor) {
  return cairn::can_dequantize(tensor_of(tensor));
}

cairn_code cairn_tensor_dequantize(cairn_tensor tensor, const cairn_slice* slice, float* out,
                                   std::size_t count, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(values, cairn::dequantize(tensor_of(tensor), ranges_of(slice)));
    if (values.size() != count) {
      return invalid("cairn_tensor_dequantize needs room for " + std::to_string(values.size()) +
                     " elements, not " + std::to_string(count));
    }
    std::copy(values.begin(), values.end(), out);
    return {};
  });
}
