// What a pickle of PyTorch holds: its tensors lie in storages that the pickle names.

#include <algorithm>

#include "format/checked.h"
#include "format/limits.h"
#include "format/torch/contents.h"
#include "fuzz.h"

using namespace cairn;
namespace torch = cairn::format::torch;

namespace {

// Less than a small file may take: many more inputs are seen.
std::uint64_t memory_max(std::size_t size) {
  return std::max<std::uint64_t>(size * format::limits::kPickleRatioMax, std::uint64_t{1} << 14);
}

void demand_consistent(const torch::Contents& contents, std::size_t size) {
  std::uint64_t made = 0;
  const std::string* before = nullptr;
  for (const torch::StoredTensor& stored : contents.tensors) {
    const format::TensorFacts& tensor = stored.facts;
    fuzz::demand(before == nullptr || *before < tensor.name, "names ascend");
    before = &tensor.name;
    made += sizeof stored + tensor.name.size();
    fuzz::demand(format::element_count(tensor.shape).has_value(), "elements can be counted");
    fuzz::demand(tensor.shape.size() <= format::limits::kRankMax, "ranks are bounded");
    fuzz::demand(tensor.strides.empty() || tensor.strides.size() == tensor.shape.size(),
                 "each dimension has a stride");
    fuzz::demand(tensor.span.shard < contents.storages.size(), "a storage is known");
    fuzz::demand(tensor.span.size_bytes == 0 ||
                     format::inside(tensor.span.offset_bytes, tensor.span.size_bytes,
                                    contents.storages[tensor.span.shard].size_bytes),
                 "tensors lie in their storages");
    if (!stored.rearranged) continue;
    const auto count = format::element_count(stored.rearranged->shape);
    const std::uint64_t bytes = *count * stored.rearranged->element_bytes;
    fuzz::demand(bytes <= std::max(64 * contents.storages[tensor.span.shard].size_bytes,
                                   tensor.span.size_bytes),
                 "no bomb");
  }
  fuzz::demand(std::ranges::is_sorted(contents.metadata), "keys ascend");
  for (const auto& [key, value] : contents.metadata) made += key.size() + value.size();
  fuzz::demand(made <= memory_max(size), "memory is bounded by the pickle's");
  fuzz::demand(contents.left_out.size() <= 21 && contents.warnings.size() <= 22, "no flood");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::byte> bytes = fuzz::bytes_of(fuzz::text_of(data, size));
  const auto pickle = format::pickle::decode(bytes, format::pickle::Input::Whole);
  if (!pickle) return 0;
  const auto whole = torch::read_contents(**pickle, {true, memory_max(size)});
  const auto some = torch::read_contents(**pickle, {false, memory_max(size)});
  if (whole) demand_consistent(*whole, size);
  if (some) demand_consistent(*some, size);
  fuzz::demand(!whole || some, "what is whole is read in any case");
  auto columns = torch::read_contents(
      **pickle, {.whole = false, .memory_max = memory_max(size), .plain = true});
  fuzz::demand(columns.has_value() == some.has_value(), "columns are read if facts are");
  if (!columns) return 0;
  fuzz::demand(columns->plain.size() == 0 || columns->tensors.empty(), "all in one form");
  torch::append_stored(columns->plain, columns->tensors);
  fuzz::demand(std::ranges::equal(columns->tensors, some->tensors, {}, &torch::StoredTensor::facts,
                                  &torch::StoredTensor::facts),
               "columns hold what facts hold");
  fuzz::demand(columns->left_out == some->left_out && columns->metadata == some->metadata,
               "and the rest is the same");
  return 0;
}
