// An ONNX model, whole and cut, and its tensors that are no raw bytes, decoded.

#include <algorithm>

#include "format/checked.h"
#include "format/limits.h"
#include "format/onnx/listed.h"
#include "format/onnx/model.h"
#include "fuzz.h"

using namespace cairn;
namespace onnx = cairn::format::onnx;

namespace {

onnx::WireReader reader_of(std::span<const std::byte> file, bool whole) {
  return {file.size(), whole ? file.size() : std::uint64_t{1} << 62,
          [file](std::uint64_t offset, std::span<std::byte> out) -> format::Decoded<void> {
            fuzz::demand(format::inside(offset, out.size(), file.size()), "reads are inside");
            std::ranges::copy(file.subspan(offset, out.size()), out.begin());
            return {};
          }};
}

void decode_list(std::span<const std::byte> file, const onnx::TensorRecord& tensor) {
  auto reader = reader_of(file, true);
  onnx::ListedValues values(reader, tensor);
  const auto due = onnx::bytes_of(*tensor.type, tensor.count);
  std::uint64_t made_bytes = 0;
  while (true) {
    const auto block = values.next_block();
    if (!block) return;
    if (block->empty()) break;
    made_bytes += block->size();
  }
  fuzz::demand(tensor.type->dtype == DType::String || made_bytes == due,
               "as many as the shape says");
}

void demand_consistent(const onnx::Model& model, std::span<const std::byte> file, bool whole) {
  fuzz::demand(std::ranges::is_sorted(model.metadata), "keys ascend");
  const std::string* before = nullptr;
  for (const onnx::TensorRecord& tensor : model.tensors) {
    fuzz::demand(before == nullptr || *before < tensor.name, "names ascend");
    before = &tensor.name;
    fuzz::demand(format::element_count(tensor.shape) == tensor.count, "elements are counted");
    fuzz::demand(tensor.shape.size() <= format::limits::kRankMax, "ranks are bounded");
    if (tensor.storage == onnx::Storage::External || !whole) continue;
    fuzz::demand(format::inside(tensor.bytes.offset_bytes, tensor.bytes.size_bytes, file.size()),
                 "tensors lie in the file");
    if (tensor.storage == onnx::Storage::Listed) decode_list(file, tensor);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  for (const bool whole : {true, false}) {
    auto reader = reader_of(file, whole);
    const auto model = onnx::decode_model(reader, {whole});
    if (model) demand_consistent(*model, file, whole);
    fuzz::demand(whole || model || model.error().code == Code::Unsupported,
                 "damage alone refuses nothing where the rest is wanted");
  }
  return 0;
}
