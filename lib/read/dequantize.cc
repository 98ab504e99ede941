#include "cairn/dequantize.h"

#include <algorithm>
#include <array>
#include <string>

#include "format/gguf/dequantize.h"
#include "format/quoted.h"
#include "lib/read/slices.h"
#include "lib/try.h"

namespace cairn {
namespace {

using format::gguf::DequantizeBlock;
using format::gguf::kBlockElementsMax;

// The function that turns the tensor's blocks into numbers; nullptr: its blocks are not known.
struct Blocks {
  DequantizeBlock dequantize = nullptr;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
};

Result<Blocks> blocks_of(const Tensor& tensor) {
  if (tensor.dtype() != DType::Opaque) return Blocks{};
  CAIRN_TRY(spec, tensor.spec());
  const OpaqueDType& opaque = spec.opaque;
  return Blocks{
      format::gguf::dequantizer_of(opaque.name, {opaque.block_elements, opaque.block_bytes}),
      opaque.block_elements, opaque.block_bytes};
}

// Elements `from` and up, of blocks that lie one after another.
void dequantize_run(const Blocks& blocks, std::span<const std::byte> stored, std::uint64_t from,
                    std::span<float> out) {
  std::array<float, kBlockElementsMax> values;
  while (!out.empty()) {
    const std::uint64_t first = from % blocks.elements;
    const std::size_t count = std::min<std::uint64_t>(blocks.elements - first, out.size());
    blocks.dequantize(stored.data() + from / blocks.elements * blocks.bytes, values.data());
    std::copy_n(values.data() + first, count, out.data());
    out = out.subspan(count);
    from += count;
  }
}

}  // namespace

bool can_dequantize(const Tensor& tensor) noexcept {
  const auto known = at_boundary([&]() -> Result<bool> {
    CAIRN_TRY(blocks, blocks_of(tensor));
    return blocks.dequantize != nullptr;
  });
  return known && *known;
}

Result<std::vector<float>> dequantize(const Tensor& tensor, Slice slice) noexcept {
  return at_boundary([&]() -> Result<std::vector<float>> {
    CAIRN_TRY(blocks, blocks_of(tensor));
    const std::string named = "tensor " + format::quoted(tensor.name());
    if (blocks.dequantize == nullptr) {
      return Error{Code::Unsupported, 0,
                   named + ": nothing is known here that makes numbers of " +
                       std::string(tensor.dtype_name())};
    }
    auto box = internal::box_of(slice, tensor.shape());
    if (!box) return Error{Code::Invalid, 0, named + ": " + box.error().what};
    std::vector<std::byte> stored(tensor.size_bytes());
    CAIRN_CHECK(tensor.read(stored));
    std::vector<float> values(internal::element_count(*box));
    CAIRN_CHECK(internal::for_each_run(
        internal::whole_box(tensor.shape()), *box, *box, 1, [&](const internal::Run& run) {
          dequantize_run(blocks, stored, run.from_bytes,
                         std::span(values).subspan(run.to_bytes, run.size_bytes));
          return Result<void>();
        }));
    return values;
  });
}

}  // namespace cairn
