#pragma once

// TensorFlow's table (SSTable), the container of a bundle's index: sorted keys in checksummed
// blocks. LevelDB's table format with raw keys, 256 KiB blocks and no filter. FORMAT.md, "Table".

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/decode_error.h"

namespace cairn::format::tensorflow {

// The last eight bytes of a table, little endian.
inline constexpr std::uint64_t kTableMagic = 0xdb4775248b80fb57;

// Bytes of a table's file.
struct TableRange {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

// Where a table comes from: memory, or whoever reads a range of it when it is asked for, into
// memory that is left alone until the next one is.
class TableFile {
 public:
  using Read = std::function<Decoded<std::string_view>(const TableRange&)>;

  explicit TableFile(std::span<const std::byte> file);
  TableFile(std::uint64_t size, Read read) noexcept : size_(size), read_(std::move(read)) {}

  std::uint64_t size() const noexcept { return size_; }

  // `range` lies inside of the file.
  Decoded<std::string_view> read(const TableRange& range) const { return read_(range); }

 private:
  std::uint64_t size_;
  Read read_;
};

// The entries of one block after another. Keys ascend strictly, across blocks too.
class TableEntries {
 public:
  // Goes on with a block, which starts at `offset` of the file: entries, restarts, their count.
  Decoded<void> start_block(std::string_view block, std::uint64_t offset);

  // The next entry of the block: false at its end.
  Decoded<bool> next();

  std::string_view key() const noexcept { return key_; }
  std::string_view value() const noexcept { return value_; }
  std::uint64_t block_offset() const noexcept { return block_offset_; }

 private:
  DecodeError damaged(const std::string& what) const;

  std::string_view rest_;  // entries of the block that are still to come
  std::uint64_t block_offset_ = 0;
  std::uint64_t block_size_ = 0;
  std::uint64_t block_key_bytes_ = 0;  // of all keys so far, rebuilt
  bool starts_block_ = true;
  bool starts_table_ = true;
  std::string key_;
  std::string_view value_;
};

// Reads a table front to back. Every block's checksum is checked before its first entry is given.
class TableReader {
 public:
  // Checks footer and index block. What `file` reads from must outlive the reader.
  static Decoded<TableReader> open(TableFile file);

  // The next entry: false at the end. key() and value() are valid until the next call.
  // Errors: Corrupt (checksum, structure, keys that do not ascend strictly).
  Decoded<bool> next();
  std::string_view key() const noexcept { return entries_.key(); }
  std::string_view value() const noexcept { return entries_.value(); }

  // Of the entry's block, for messages.
  std::uint64_t block_offset() const noexcept { return entries_.block_offset(); }

 private:
  explicit TableReader(TableFile file) noexcept : file_(std::move(file)) {}
  Decoded<bool> next_block();

  TableFile file_;
  // The index block, and the current block where it was compressed. Vectors, because views into
  // them survive a move of the reader.
  std::vector<char> index_storage_;
  std::vector<char> block_storage_;
  TableEntries index_;
  TableEntries entries_;
  std::uint64_t blocks_end_ = 0;  // of all blocks so far
  bool in_block_ = false;
};

// Writes a table byte for byte as TensorFlow does. Keys must ascend strictly.
class TableWriter {
 public:
  void add(std::string_view key, std::string_view value);

  // The finished file. The writer is empty afterwards.
  std::string finish();

 private:
  struct Block {
    int restart_every;
    std::string bytes;
    std::vector<std::uint32_t> restarts{0};
    std::string last_key;
    int since_restart = 0;

    void add(std::string_view key, std::string_view value);
    std::size_t size() const noexcept;
    bool empty() const noexcept { return bytes.empty(); }
  };

  void flush();
  void index_pending(std::string_view separator);
  std::string write_block(Block& block);

  std::string file_;
  Block data_{16};
  Block index_{1};
  std::string pending_handle_;  // of a block that the index does not list yet
  std::string last_key_;        // of that block
  bool empty_ = true;
};

}  // namespace cairn::format::tensorflow
