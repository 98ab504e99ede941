// A safetensors file. The length in front is made good now and then, so that the JSON decides.

#include <algorithm>
#include <tuple>

#include "format/safetensors/header.h"
#include "format/safetensors/header_scan.h"
#include "fuzz.h"
#include "tests/plain_facts.h"

using namespace cairn;
namespace safetensors = cairn::format::safetensors;

namespace {

// Encodes what was decoded, where a header can say it: in the order of offsets, nothing twice.
void encode_again(const safetensors::HeaderFacts& facts, std::uint64_t payload_bytes) {
  std::vector<const format::TensorFacts*> order;
  for (const auto& tensor : facts.tensors) {
    if (tensor.dtype == DType::Opaque) return;
    order.push_back(&tensor);
  }
  std::ranges::sort(order, {}, [](const format::TensorFacts* tensor) {
    return std::tuple(tensor->span.offset_bytes, tensor->span.size_bytes, tensor->name);
  });
  std::vector<safetensors::HeaderTensor> tensors;
  for (const auto* tensor : order)
    tensors.push_back({tensor->name, tensor->dtype, tensor->shape, tensor->span.size_bytes});
  const std::string head = safetensors::encode_header(tensors, facts.metadata, 64);
  if (head.empty()) return;
  fuzz::demand(head.size() % 64 == 0, "the payload is aligned");
  const auto again =
      safetensors::decode_header(format::as_bytes(head), head.size() + payload_bytes);
  fuzz::demand(again, "what was encoded can be decoded");
  fuzz::demand(again->metadata == facts.metadata, "encoding keeps the metadata");
  fuzz::demand(again->tensors.size() == facts.tensors.size(), "encoding keeps every tensor");
  for (std::size_t i = 0; i < facts.tensors.size(); ++i) {
    const auto &a = facts.tensors[i], &b = again->tensors[i];
    fuzz::demand(a.name == b.name && a.dtype == b.dtype && a.shape == b.shape &&
                     a.span.size_bytes == b.span.size_bytes,
                 "encoding changes no tensor");
  }
}

using Facts = format::Decoded<safetensors::HeaderFacts>;

// What the scan takes, the parser takes, and says the same of it.
void compare(const std::optional<safetensors::PlainHeader>& scanned, const Facts& facts) {
  if (!scanned) return;
  fuzz::demand(facts, "nothing is taken that is refused");
  fuzz::demand(scanned->metadata == facts->metadata, "the same metadata");
  fuzz::demand(tests::facts_of(scanned->tensors) == facts->tensors, "the same tensors");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::bytes_of(fuzz::text_of(data, size));
  if (size < 8) return 0;
  const auto json_bytes = safetensors::header_json_bytes(std::span(file).first(8));
  if (!json_bytes || *json_bytes > size - 8) return 0;
  const auto head = fuzz::bytes_of(fuzz::text_of(data, 8 + *json_bytes));
  const Facts facts = safetensors::decode_header(head, size);
  const auto read = [&](std::uint64_t at, std::span<std::byte> out) -> format::Decoded<void> {
    std::ranges::copy(std::span(head).subspan(at, out.size()), out.begin());
    return {};
  };
  compare(safetensors::scan_header(read, *json_bytes, size), facts);
  if (!facts) return 0;
  for (const auto& tensor : facts->tensors) {
    fuzz::demand(tensor.span.offset_bytes >= head.size() && tensor.span.offset_bytes <= size &&
                     tensor.span.size_bytes <= size - tensor.span.offset_bytes,
                 "every tensor lies behind the header and inside the file");
    fuzz::demand(safetensors::is_utf8(tensor.name), "names are text");
  }
  encode_again(*facts, size - head.size());
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  std::string text = fuzz::mutated(std::string(fuzz::text_of(data, size)), max_size);
  const std::size_t end = text.rfind('}');
  if (seed % 8 != 0 && text.size() > 8 && end != text.npos && end >= 8)
    format::store_le(reinterpret_cast<std::byte*>(text.data()), std::uint64_t{end + 1 - 8});
  return fuzz::give(text, data, max_size);
}
