#include "tests/fuzz/repair.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "format/cairn/index_layout.h"
#include "format/checked.h"
#include "format/digest.h"
#include "format/tensorflow/table.h"
#include "format/tensorflow/varint.h"
#include "fuzz.h"

namespace cairn::fuzz {
namespace {

constexpr std::size_t kFooterBytes = 48;
constexpr std::size_t kTrailerBytes = 5;

struct Handle {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

std::optional<Handle> take_handle(std::string_view& rest) {
  const auto offset = format::tensorflow::take_varint(rest);
  const auto size = format::tensorflow::take_varint(rest);
  if (!offset || !size) return std::nullopt;
  return Handle{*offset, *size};
}

// Writes the sum of a block behind it; false where it does not lie inside the file.
bool repair_block(std::string& file, Handle handle) {
  const std::size_t blocks_size = file.size() - kFooterBytes;
  if (blocks_size < kTrailerBytes) return false;
  if (!format::inside(handle.offset, handle.size, blocks_size - kTrailerBytes)) return false;
  const std::string_view summed = std::string_view(file).substr(handle.offset, handle.size + 1);
  const std::uint32_t sum = format::crc32c_mask(format::crc32c(format::as_bytes(summed)));
  std::memcpy(file.data() + handle.offset + handle.size + 1, &sum, sizeof sum);
  return true;
}

using Records = std::vector<std::pair<std::string, std::string>>;

std::optional<Records> records_of(const std::string& file) {
  auto reader =
      format::tensorflow::TableReader::open(format::tensorflow::TableFile(format::as_bytes(file)));
  if (!reader) return std::nullopt;
  Records records;
  while (true) {
    const auto more = reader->next();
    if (!more) return std::nullopt;
    if (!*more) return records;
    records.emplace_back(reader->key(), reader->value());
  }
}

std::string table_of(Records records) {
  std::ranges::sort(records);
  const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
  records.erase(std::unique(records.begin(), records.end(), same), records.end());
  format::tensorflow::TableWriter writer;
  for (const auto& [key, value] : records) writer.add(key, value);
  return writer.finish();
}

}  // namespace

void repair_index(std::string& file) {
  if (file.size() < format::index::kHeaderBytes) return;
  auto bytes = bytes_of(file);
  format::store_le(bytes.data() + format::index::kBodyBytesAt,
                   std::uint64_t{file.size() - format::index::kHeaderBytes});
  const Digest128 digest = format::index::file_digest(bytes);
  std::ranges::copy(digest.bytes, bytes.begin() + format::index::kDigestAt);
  file = format::as_text(bytes);
}

void repair_table(std::string& file) {
  if (file.size() < kFooterBytes) return;
  constexpr std::uint64_t kMagic = 0xdb4775248b80fb57;
  std::memcpy(file.data() + file.size() - sizeof kMagic, &kMagic, sizeof kMagic);
  std::string_view footer = std::string_view(file).substr(file.size() - kFooterBytes);
  take_handle(footer);  // of the metaindex, which nobody reads
  const auto index = take_handle(footer);
  if (!index || !repair_block(file, *index)) return;
  const std::string block = file.substr(index->offset, index->size);
  format::tensorflow::TableEntries entries;
  if (!entries.start_block(block, index->offset)) return;
  while (true) {
    const auto more = entries.next();
    if (!more || !*more) return;
    std::string_view value = entries.value();
    if (const auto handle = take_handle(value)) repair_block(file, *handle);
  }
}

std::string mutated_table(std::string file, std::size_t max_size, unsigned seed) {
  if (auto records = seed % 4 == 0 ? std::nullopt : records_of(file);
      records && !records->empty()) {
    auto& [key, value] = (*records)[seed / 4 % records->size()];
    std::string& part = seed % 16 == 1 ? key : value;
    part = mutated(part, part.size() + 32);
    if (std::string made = table_of(*std::move(records)); made.size() <= max_size) return made;
  }
  file = mutated(std::move(file), max_size);
  if (seed % 32 != 0) repair_table(file);
  return file;
}

}  // namespace cairn::fuzz
