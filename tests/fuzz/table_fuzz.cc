// TensorFlow's table.

#include "format/tensorflow/table.h"

#include "fuzz.h"
#include "tests/fuzz/repair.h"

using namespace cairn;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::bytes_of(fuzz::text_of(data, size));
  auto reader = format::tensorflow::TableReader::open(format::tensorflow::TableFile(file));
  if (!reader) return 0;
  format::tensorflow::TableWriter writer;
  std::vector<std::pair<std::string, std::string>> records;
  while (true) {
    const auto more = reader->next();
    if (!more) return 0;
    if (!*more) break;
    fuzz::demand(records.empty() || records.back().first < reader->key(), "keys ascend");
    records.emplace_back(reader->key(), reader->value());
    writer.add(reader->key(), reader->value());
  }
  const std::string written = writer.finish();
  auto again = format::tensorflow::TableReader::open(
      format::tensorflow::TableFile(format::as_bytes(written)));
  fuzz::demand(again, "what was written can be opened");
  for (const auto& [key, value] : records) {
    const auto more = again->next();
    fuzz::demand(more && *more, "what was written can be read");
    fuzz::demand(again->key() == key && again->value() == value, "writing changes nothing");
  }
  const auto end = again->next();
  fuzz::demand(end && !*end, "a table ends where its records do");
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  const std::string file(fuzz::text_of(data, size));
  return fuzz::give(fuzz::mutated_table(file, max_size, seed), data, max_size);
}
