#include "format/tensorflow/table.h"

// A table is made for seeking: an index block of separators, restart points inside blocks. Nobody
// needs that here. Whoever opens a checkpoint wants every entry once, so the reader makes one pass
// from front to back and never seeks; it looks neither at the restart points nor at the metaindex
// block, which TensorFlow does not read either.
//
// The pass is also what makes reading safe. TensorFlow checks a block when a seek or an iteration
// crosses into it, and its callers do not ask the iterator why it ended: behind a block whose
// checksum fails, listings silently stop, and all tensors from there on are "not found". Merging
// such an index even deletes the source afterwards. Here a bad block is an error of the whole
// table, and so is what only seeking would notice: keys that do not ascend, an index that ends a
// block before its last key.
//
// Hostile bytes cost no more than honest ones: blocks lie one behind the other, so that no byte is
// summed twice; a Snappy block may claim 32 times its size (its format cannot reach 22 times); the
// rebuilt keys of a block may be 64 times its size, where TensorFlow's restart every 16 entries
// allows 16.

#include <snappy.h>

#include <optional>
#include <utility>

#include "format/checked.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/tensorflow/varint.h"

namespace cairn::format::tensorflow {

namespace {

constexpr std::uint64_t kFooterBytes = 48;
constexpr std::uint64_t kTrailerBytes = 5;  // type, masked checksum
constexpr char kUncompressed = 0;
constexpr char kSnappy = 1;

// Where a block lies; `size` counts no trailer.
using Handle = TableRange;

std::optional<Handle> take_handle(std::string_view& rest) noexcept {
  const auto offset = take_varint(rest);
  const auto size = take_varint(rest);
  if (!offset || !size) return std::nullopt;
  return Handle{*offset, *size};
}

std::string block_at(std::uint64_t offset) { return "the block at byte " + std::to_string(offset); }

Decoded<std::string_view> uncompress(std::string_view stored, Handle handle,
                                     std::vector<char>& storage) {
  std::size_t size = 0;
  if (!snappy::GetUncompressedLength(stored.data(), stored.size(), &size)) {
    return corrupt(handle.offset, block_at(handle.offset) + " is not Snappy data");
  }
  if (size > limits::kSnappyRatioMax * stored.size()) {
    return corrupt(handle.offset, block_at(handle.offset) + " has " +
                                      std::to_string(stored.size()) +
                                      " bytes, and says that it holds " + std::to_string(size));
  }
  storage.resize(size);
  if (!snappy::RawUncompress(stored.data(), stored.size(), storage.data())) {
    return corrupt(handle.offset, block_at(handle.offset) + " is damaged Snappy data");
  }
  return std::string_view(storage.data(), storage.size());
}

// The contents of a block, its checksum checked; in `storage` where they were compressed, else
// valid until the next read.
Decoded<std::string_view> load_block(const TableFile& file, Handle handle,
                                     std::vector<char>& storage) {
  const std::uint64_t blocks_size = file.size() - kFooterBytes;
  if (blocks_size < kTrailerBytes ||
      !inside(handle.offset, handle.size, blocks_size - kTrailerBytes)) {
    return corrupt(handle.offset, block_at(handle.offset) + " has " + std::to_string(handle.size) +
                                      " bytes, and ends after the end of the file of " +
                                      std::to_string(file.size()));
  }
  if (handle.size > limits::kTableBlockBytesMax) {
    return corrupt(handle.offset, block_at(handle.offset) + " has " + std::to_string(handle.size) +
                                      " bytes, more than the limit of " +
                                      std::to_string(limits::kTableBlockBytesMax));
  }
  const auto block = file.read({handle.offset, handle.size + kTrailerBytes});
  if (!block) return block.error();
  const std::string_view stored = block->substr(0, handle.size);
  const std::string_view summed = block->substr(0, handle.size + 1);
  const char type = summed.back();
  const std::byte* sum_at = as_bytes(*block).data() + handle.size + 1;
  const std::uint32_t expected = crc32c_unmask(load_le<std::uint32_t>(sum_at));
  const std::uint32_t computed = crc32c(as_bytes(summed));
  if (computed != expected) {
    return corrupt(handle.offset, block_at(handle.offset) + " is damaged: stored checksum " +
                                      crc32c_hex(expected) + ", computed " + crc32c_hex(computed));
  }
  if (type == kUncompressed) return stored;
  if (type == kSnappy) return uncompress(stored, handle, storage);
  return corrupt(handle.offset, block_at(handle.offset) + " has the unknown type " +
                                    std::to_string(static_cast<unsigned char>(type)));
}

}  // namespace

// ---- Entries

DecodeError TableEntries::damaged(const std::string& what) const {
  return corrupt(block_offset_, block_at(block_offset_) + " " + what);
}

Decoded<void> TableEntries::start_block(std::string_view block, std::uint64_t offset) {
  block_offset_ = offset;
  block_size_ = block.size();
  block_key_bytes_ = 0;
  starts_block_ = true;
  constexpr std::uint64_t kWord = sizeof(std::uint32_t);
  if (block.size() < kWord) return damaged("is too short for its number of restarts");
  const std::byte* const end = as_bytes(block).data() + block.size();
  const std::uint64_t restarts = load_le<std::uint32_t>(end - kWord);
  if (restarts == 0 || restarts > (block.size() - kWord) / kWord) {
    return damaged("has " + std::to_string(block.size()) + " bytes, but says that it has " +
                   std::to_string(restarts) + " restarts");
  }
  rest_ = block.substr(0, block.size() - kWord * (restarts + 1));
  return {};
}

Decoded<bool> TableEntries::next() {
  if (rest_.empty()) return false;
  const auto shared = take_varint(rest_);
  const auto unshared = take_varint(rest_);
  const auto value_size = take_varint(rest_);
  if (!shared || !unshared || !value_size || *unshared > rest_.size() ||
      *value_size > rest_.size() - *unshared) {
    return damaged("holds an entry that is cut off");
  }
  if (*shared > (starts_block_ ? 0 : key_.size())) {
    return damaged("holds a key that shares " + std::to_string(*shared) +
                   " bytes with a shorter one");
  }
  const std::string_view tail = rest_.substr(0, *unshared);
  // Both keys begin with the shared bytes, so the rest decides.
  const std::string_view previous_tail = std::string_view(key_).substr(*shared);
  if (!starts_table_ && tail <= previous_tail) {
    std::string key = key_.substr(0, *shared).append(tail);
    return damaged("has the key " + format::quoted(key) + " after " + format::quoted(key_));
  }
  block_key_bytes_ += *shared + *unshared;
  if (block_key_bytes_ / limits::kKeyRatioMax > block_size_) {
    return damaged("has " + std::to_string(block_size_) + " bytes and more than " +
                   std::to_string(limits::kKeyRatioMax) + " times as much in keys");
  }
  key_.resize(*shared);
  key_.append(tail);
  value_ = rest_.substr(*unshared, *value_size);
  rest_.remove_prefix(*unshared + *value_size);
  starts_block_ = starts_table_ = false;
  return true;
}

// ---- The table

TableFile::TableFile(std::span<const std::byte> file)
    : TableFile(file.size(), [text = as_text(file)](const TableRange& range) {
        return Decoded<std::string_view>(text.substr(range.offset, range.size));
      }) {}

Decoded<TableReader> TableReader::open(TableFile file) {
  if (file.size() < kFooterBytes) {
    return corrupt(0, "the file has " + std::to_string(file.size()) +
                          " bytes, but the footer of a table needs " +
                          std::to_string(kFooterBytes));
  }
  const std::uint64_t footer_at = file.size() - kFooterBytes;
  const auto end = file.read({footer_at, kFooterBytes});
  if (!end) return end.error();
  std::string_view footer = end->substr(0, kFooterBytes - sizeof kTableMagic);
  const auto magic = load_le<std::uint64_t>(as_bytes(*end).data() + footer.size());
  if (magic != kTableMagic) {
    return corrupt(file.size() - sizeof kTableMagic,
                   "the file does not end like a table (bad magic number)");
  }
  const auto metaindex = take_handle(footer);
  const auto index = take_handle(footer);
  if (!metaindex || !index) return corrupt(footer_at, "the footer's block handles are damaged");
  TableReader reader(std::move(file));
  std::vector<char>& storage = reader.index_storage_;
  const auto block = load_block(reader.file_, *index, storage);
  if (!block) return block.error();
  if (block->data() != storage.data()) storage.assign(block->begin(), block->end());
  const auto started = reader.index_.start_block({storage.data(), storage.size()}, index->offset);
  if (!started) return started.error();
  return reader;
}

Decoded<bool> TableReader::next() {
  while (true) {
    auto more = in_block_ ? entries_.next() : false;
    if (!more || *more) return more;
    if (in_block_ && entries_.key() > index_.key()) {
      return corrupt(block_offset(), block_at(block_offset()) + " holds the key " +
                                         format::quoted(key()) + ", but by the index it ends at " +
                                         format::quoted(index_.key()));
    }
    more = next_block();
    if (!more || !*more) return more;
  }
}

// Opens the next block that the index lists: false where there is none.
Decoded<bool> TableReader::next_block() {
  in_block_ = false;
  auto more = index_.next();
  if (!more || !*more) return more;
  std::string_view value = index_.value();
  const auto handle = take_handle(value);
  if (!handle || handle->offset < blocks_end_) {
    return corrupt(index_.block_offset(), "the index's entry " + format::quoted(index_.key()) +
                                              " does not lead to a block after the previous one");
  }
  const auto block = load_block(file_, *handle, block_storage_);
  if (!block) return block.error();
  blocks_end_ = handle->offset + handle->size + kTrailerBytes;
  const auto started = entries_.start_block(*block, handle->offset);
  if (!started) return started.error();
  in_block_ = true;
  return true;
}

}  // namespace cairn::format::tensorflow
