// TensorFlow's P.index: header and entries in a table.

#include "format/tensorflow/bundle.h"

#include <algorithm>

#include "fuzz.h"
#include "tests/fuzz/repair.h"
#include "tests/plain_facts.h"

using namespace cairn;

namespace {

bool all_have_sums(const format::tensorflow::BundleFacts& facts) {
  return std::ranges::all_of(facts.tensors, [](const format::TensorFacts& tensor) {
    return tensor.slices.empty()
               ? tensor.span.crc32c.has_value()
               : std::ranges::all_of(tensor.slices, [](const format::SliceFacts& slice) {
                   return slice.span.crc32c.has_value();
                 });
  });
}

using Facts = format::Decoded<format::tensorflow::BundleFacts>;
using Plain = format::Decoded<std::optional<format::tensorflow::PlainBundle>>;

// Columns say what the facts say, or both refuse it for the same reason.
void compare(const Plain& plain, const Facts& facts) {
  if (!plain) {
    fuzz::demand(!facts && facts.error().what == plain.error().what, "the same refusal");
    return;
  }
  if (!*plain) return;
  fuzz::demand(facts && facts->header == (*plain)->header, "the same header");
  fuzz::demand(facts->shards == (*plain)->shards, "the same shards");
  fuzz::demand(tests::facts_of((*plain)->tensors) == facts->tensors, "the same tensors");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::bytes_of(fuzz::text_of(data, size));
  const Facts facts = format::tensorflow::decode_bundle(file);
  compare(format::tensorflow::decode_plain_bundle(file), facts);
  if (!facts || !all_have_sums(*facts)) return 0;
  for (std::size_t i = 1; i < facts->tensors.size(); ++i)
    fuzz::demand(facts->tensors[i - 1].name < facts->tensors[i].name, "names ascend");
  const auto encoded = format::tensorflow::encode_bundle(facts->header, facts->tensors);
  if (!encoded) return 0;  // a name that TensorFlow could not tell from a slice's key
  const auto again = format::tensorflow::decode_bundle(format::as_bytes(*encoded));
  fuzz::demand(again, "what was encoded can be decoded");
  fuzz::demand(again->header == facts->header, "encoding keeps the header");
  fuzz::demand(again->tensors.size() == facts->tensors.size(), "encoding keeps every tensor");
  fuzz::demand(again->shards == facts->shards, "encoding keeps the shards");
  const auto third = format::tensorflow::encode_bundle(again->header, again->tensors);
  fuzz::demand(third && *third == *encoded, "encoding is deterministic");
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  const std::string file(fuzz::text_of(data, size));
  return fuzz::give(fuzz::mutated_table(file, max_size, seed), data, max_size);
}
