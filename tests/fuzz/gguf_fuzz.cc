// The header of a GGUF file, read from all of it and from less; then the blocks of its tensors as
// numbers.

#include <array>

#include "format/checked.h"
#include "format/gguf/dequantize.h"
#include "format/gguf/header.h"
#include "format/limits.h"
#include "fuzz.h"

using namespace cairn;
namespace gguf = cairn::format::gguf;

namespace {

void demand_consistent(const gguf::Header& header, std::uint64_t file_bytes) {
  fuzz::demand(header.data_offset_bytes <= file_bytes, "the data begin inside the file");
  fuzz::demand(std::ranges::is_sorted(header.metadata), "keys ascend");
  const std::string* before = nullptr;
  for (const format::TensorFacts& tensor : header.tensors) {
    fuzz::demand(before == nullptr || *before < tensor.name, "names ascend");
    before = &tensor.name;
    fuzz::demand(format::element_count(tensor.shape).has_value(), "elements can be counted");
    fuzz::demand(tensor.shape.size() <= format::limits::kRankMax, "ranks are bounded");
    fuzz::demand(tensor.span.offset_bytes >= header.data_offset_bytes &&
                     format::inside(tensor.span.offset_bytes, tensor.span.size_bytes, file_bytes),
                 "tensors lie in the data");
  }
}

void dequantize(const format::TensorFacts& tensor, std::span<const std::byte> file) {
  const auto block = gguf::dequantizer_of(tensor.opaque_dtype, tensor.opaque_block);
  if (block == nullptr) return;
  std::array<float, gguf::kBlockElementsMax> values;
  // A copy, whose end is guarded.
  const auto bytes = file.subspan(tensor.span.offset_bytes, tensor.span.size_bytes);
  for (std::size_t at = 0; at < bytes.size(); at += tensor.opaque_block.bytes) {
    const auto one = bytes.subspan(at, tensor.opaque_block.bytes);
    const std::vector<std::byte> copy(one.begin(), one.end());
    block(copy.data(), values.data());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto header = gguf::decode_header(file, {size, true, {}});
  if (header) {
    fuzz::demand(*header, "a whole file is enough");
    demand_consistent(**header, size);
    for (const format::TensorFacts& tensor : (*header)->tensors) dequantize(tensor, file);
  }
  const auto half = gguf::decode_header(file.first(size / 2), {size, true, {}});
  fuzz::demand(!header || half, "what is good is not refused by half of it");
  (void)gguf::decode_header(file, {size, false, 8});
  return 0;
}
