// The journal of a directory. Its sum is made good, else nothing would get past it.

#include "format/cairn/journal.h"

#include "format/digest.h"
#include "fuzz.h"

using namespace cairn;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  const auto journal = format::decode_journal(text);
  if (!journal) return 0;
  const auto again = format::decode_journal(format::encode_journal(*journal));
  fuzz::demand(again, "what was encoded can be decoded");
  fuzz::demand(*again == *journal, "encoding and decoding change nothing");
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  std::string text = fuzz::mutated(std::string(fuzz::text_of(data, size)), max_size);
  if (seed % 16 != 0) {
    text.resize(text.rfind("sum\t") == text.npos ? text.size() : text.rfind("sum\t"));
    if (!text.empty() && text.back() != '\n') text += '\n';
    const Digest128 sum = format::xxh3_128(format::as_bytes(text));
    text += "sum\t" + format::hex(sum.bytes) + "\n";
  }
  return fuzz::give(text, data, max_size);
}
