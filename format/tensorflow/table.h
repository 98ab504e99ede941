#pragma once

// TensorFlow's table (SSTable), the container of a bundle's index: sorted keys in checksummed
// blocks. LevelDB's table format with raw keys, 256 KiB blocks and no filter. FORMAT.md, "Table".

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/reason.h"

namespace cairn::format::tensorflow {

// Reads the entries in order. Every block's checksum is checked before its first entry is given;
// TensorFlow's reader stops silently at the first bad block after the header's, and hides all
// tensors behind it.
class TableReader {
 public:
  // Checks footer and index block. `file` must outlive the reader.
  static Decoded<TableReader> open(std::span<const std::byte> file);

  // The next entry: false at the end. key() and value() are valid until the next call.
  // Errors: Corrupt (checksum, structure, keys that do not ascend strictly).
  Decoded<bool> next();
  std::string_view key() const noexcept { return key_; }
  std::string_view value() const noexcept { return value_; }
  std::uint64_t block_offset() const noexcept {
    return block_offset_;
  }  // of the entry's block, for messages

 private:
  struct Handle {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };

  explicit TableReader(std::span<const std::byte> file) noexcept : file_(file) {}
  Decoded<std::string_view> load_block(Handle handle, std::string& storage) const;
  Decoded<void> open_block(Handle handle);

  std::span<const std::byte> file_;
  std::vector<Handle> blocks_;
  std::size_t next_block_ = 0;
  std::string_view rest_;     // undecoded entries of the current block
  std::string uncompressed_;  // the current block, where it was Snappy
  std::string key_;
  std::string_view value_;
  std::uint64_t block_offset_ = 0;
  bool first_ = true;
};

// Writes a table byte for byte as TensorFlow does. Keys must ascend strictly.
class TableWriter {
 public:
  void add(std::string_view key, std::string_view value);

  // The finished file. The writer is empty afterwards.
  std::string finish();

 private:
  struct Block {
    std::string bytes;
    std::vector<std::uint32_t> restarts{0};
    std::string last_key;
    int since_restart = 0;
  };

  static void append_entry(Block& block, std::string_view key, std::string_view value,
                           int restart_every);
  void flush(std::string_view next_key);
  std::string write_block(Block& block);

  std::string file_;
  Block data_;
  Block index_;
  bool any_ = false;
};

}  // namespace cairn::format::tensorflow
