// The text of an exported program's weights: its tensors lie in records that it names.

#include "format/checked.h"
#include "format/torch/exported.h"
#include "fuzz.h"

using namespace cairn;
namespace torch = cairn::format::torch;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kRecordBytes = 64;  // of every record
  const std::vector<std::byte> bytes = fuzz::bytes_of(fuzz::text_of(data, size));
  const auto exported =
      torch::decode_exported(bytes, [&](std::string_view record) -> std::optional<std::uint64_t> {
        if (record.ends_with('x')) return std::nullopt;
        return kRecordBytes;
      });
  if (!exported) return 0;
  for (const torch::StoredTensor& stored : exported->tensors) {
    const format::TensorFacts& tensor = stored.facts;
    fuzz::demand(tensor.span.shard < exported->records.size(), "a record is known");
    fuzz::demand(format::inside(tensor.span.offset_bytes, tensor.span.size_bytes, kRecordBytes),
                 "tensors lie in their records");
    fuzz::demand(format::element_count(tensor.shape).has_value(), "elements can be counted");
    if (!stored.rearranged) continue;
    const auto count = format::element_count(stored.rearranged->shape);
    fuzz::demand(*count * stored.rearranged->element_bytes <= 64 * kRecordBytes, "no bomb");
  }
  return 0;
}
