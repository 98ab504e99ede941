// A V1 file: the table again, with every value in protobuf.

#include "format/tensorflow/v1.h"

#include "format/checked.h"
#include "fuzz.h"
#include "tests/fuzz/repair.h"

using namespace cairn;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::bytes_of(fuzz::text_of(data, size));
  (void)format::tensorflow::is_v1(format::tensorflow::TableFile(file));
  auto reader = format::tensorflow::V1Reader::open(format::tensorflow::TableFile(file));
  if (!reader) return 0;
  while (true) {
    const auto more = reader->next();
    if (!more || !*more) return 0;
    fuzz::demand(reader->tensor() < reader->tensors().size(), "a slice belongs to a tensor");
    const auto& tensor = reader->tensors()[reader->tensor()];
    fuzz::demand(reader->slice() < tensor.slices.size(), "a slice is listed");
    while (true) {
      const auto block = reader->next_block();
      if (!block) return 0;
      if (block->empty()) break;
    }
  }
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  const std::string file(fuzz::text_of(data, size));
  return fuzz::give(fuzz::mutated_table(file, max_size, seed), data, max_size);
}
