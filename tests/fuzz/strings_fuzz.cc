// Stored strings and variants: a byte that says what and how many, then the stored bytes.

#include "format/tensorflow/bundle.h"
#include "fuzz.h"

using namespace cairn;
namespace tensorflow = cairn::format::tensorflow;

namespace {

void check_strings(std::span<const std::byte> stored, std::uint64_t count, bool big_endian) {
  const auto layout = tensorflow::decode_strings(stored, count, big_endian);
  const auto lengths = tensorflow::decode_string_lengths(stored, count, big_endian, stored.size());
  if (!layout) return;
  fuzz::demand(lengths && lengths->lengths == layout->lengths, "both readers see one layout");
  fuzz::demand(layout->lengths.size() == count, "each string has a length");
  std::uint64_t at = layout->payload_offset;
  std::vector<std::string_view> values;
  for (const std::uint64_t length : layout->lengths) {
    fuzz::demand(at <= stored.size() && length <= stored.size() - at, "strings lie inside");
    values.push_back(format::as_text(stored.subspan(at, length)));
    at += length;
  }
  fuzz::demand(at == stored.size(), "nothing is left");
  if (big_endian || stored.empty()) return;
  tensorflow::StringHead head = tensorflow::encode_string_head(values);
  for (const auto& value : values) head.bytes += value;
  const auto again = tensorflow::decode_strings(format::as_bytes(head.bytes), count, false);
  fuzz::demand(again && again->lengths == layout->lengths, "encoding changes nothing");
  fuzz::demand(again->crc32c == layout->crc32c, "the sum is of the strings, not of their spelling");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned what = data[0];
  const auto stored = fuzz::bytes_of(fuzz::text_of(data + 1, size - 1));
  const std::uint64_t count = what >> 2;
  if (what % 4 < 2) {
    check_strings(stored, count, what % 4 == 1);
  } else if (what % 4 == 2) {
    (void)tensorflow::variant_crc32c(stored, count);
  } else {
    check_strings(stored, std::uint64_t{1} << count, false);
  }
  return 0;
}
