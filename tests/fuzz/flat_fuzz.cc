// Files whose index is FlatBuffers that are read where they lie: those of ExecuTorch's tensors and
// of TensorFlow Lite.

#include <algorithm>

#include "format/checked.h"
#include "format/flat/ptd.h"
#include "format/flat/tflite.h"
#include "format/limits.h"
#include "fuzz.h"

using namespace cairn;
namespace flat = cairn::format::flat;

namespace {

format::ReadAt read_of(std::span<const std::byte> file) {
  return [file](std::uint64_t offset, std::span<std::byte> out) -> format::Decoded<void> {
    fuzz::demand(format::inside(offset, out.size(), file.size()), "reads are inside");
    std::ranges::copy(file.subspan(offset, out.size()), out.begin());
    return {};
  };
}

void demand_consistent(const flat::FlatModel& model, std::uint64_t file_bytes) {
  const std::string* before = nullptr;
  for (const format::TensorFacts& tensor : model.tensors) {
    fuzz::demand(before == nullptr || *before < tensor.name, "names ascend");
    before = &tensor.name;
    fuzz::demand(format::element_count(tensor.shape).has_value(), "elements can be counted");
    fuzz::demand(tensor.shape.size() <= format::limits::kRankMax, "ranks are bounded");
    fuzz::demand(tensor.strides.empty() || tensor.strides.size() == tensor.shape.size(),
                 "a stride for each dimension");
    fuzz::demand(format::inside(tensor.span.offset_bytes, tensor.span.size_bytes, file_bytes),
                 "tensors lie in the file");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  for (const auto decode : {flat::decode_ptd, flat::decode_tflite}) {
    const auto model = decode({size, true}, read_of(file));
    if (model) demand_consistent(*model, size);
    const auto rest = decode({size, false}, read_of(file));
    fuzz::demand(!model || rest, "what is good is not refused where the rest is wanted");
  }
  return 0;
}
