#pragma once

// An HDF5 file as bytes that are read where they are needed: the superblock, and blocks of the
// file's structures. FORMAT.md, "HDF5".
//
// Addresses count from the superblock, which a user block may stand in front of; bytes of errors
// count from the file's start.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"

namespace cairn::format::hdf5 {

// Where a file's bytes come from.
class Source {
 public:
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;
  virtual std::uint64_t size_bytes() const noexcept = 0;
  // Fills `out`, whose bytes all lie inside the file.
  virtual Decoded<void> read(std::uint64_t offset_bytes, std::span<std::byte> out) = 0;
};

// How wide the file's addresses and sizes are.
struct Widths {
  unsigned offset_bytes = 8;
  unsigned length_bytes = 8;
};

// Goes through bytes. A take that reaches behind their end gives zeros, and so does every one after
// it: who has taken all that belongs together asks failed() once.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::uint64_t at, Widths widths) noexcept
      : bytes_(bytes), at_(at), widths_(widths) {}

  // An unsigned little-endian integer of up to eight bytes.
  std::uint64_t number(unsigned width_bytes) noexcept;
  std::uint8_t byte() noexcept { return static_cast<std::uint8_t>(number(1)); }
  std::uint64_t offset() noexcept { return number(widths_.offset_bytes); }
  std::uint64_t length() noexcept { return number(widths_.length_bytes); }
  std::span<const std::byte> take(std::uint64_t size_bytes) noexcept;
  void skip(std::uint64_t size_bytes) noexcept { (void)take(size_bytes); }
  // Up to the first NUL byte, which is taken too.
  std::string_view text() noexcept;

  bool failed() const noexcept { return failed_; }
  std::uint64_t at() const noexcept { return at_; }  // in the file
  std::span<const std::byte> rest() const noexcept { return bytes_; }
  std::size_t left_bytes() const noexcept { return bytes_.size(); }
  Widths widths() const noexcept { return widths_; }

 private:
  std::span<const std::byte> bytes_;
  std::uint64_t at_;
  Widths widths_;
  bool failed_ = false;
};

// Bytes of the file, and where they lie in it.
struct Block {
  std::vector<std::byte> bytes;
  std::uint64_t at = 0;
};

struct FileOptions {
  bool whole = true;       // the file must not be shorter than it says
  bool check_sums = true;  // not: for tests, which change bytes under a sum
};

class File {
 public:
  // Reads the superblock. Errors: Corrupt (no HDF5 file, a wrong checksum, or shorter than it
  // says); Unsupported (another version, a file that a writer has open or left so, or one of
  // several parts).
  static Decoded<File> open(Source& source, const FileOptions& options);

  std::uint64_t size_bytes() const noexcept { return source_->size_bytes(); }
  Widths widths() const noexcept { return widths_; }
  std::uint64_t root_address() const noexcept { return root_address_; }
  bool checks_sums() const noexcept { return options_.check_sums; }
  bool is_whole() const noexcept { return options_.whole; }

  // Whether the address is the one that says "nowhere".
  bool is_undefined(std::uint64_t address) const noexcept;

  // Where in the file an address lies; as it is where it lies nowhere.
  std::uint64_t place(std::uint64_t address) const noexcept { return base_bytes_ + address; }

  // A block of a structure. Errors: Corrupt (outside of the file, or more bytes in all than a file
  // of its size can need, so that they refer to each other in a circle); Io.
  Decoded<Block> read(FileRange range);

  // The same of one that begins with a signature and a version, and ends with a checksum of all
  // before it.
  static constexpr int kNoVersion = -1;
  struct Signed {
    std::string_view signature;
    int version = 0;
    bool has_sum = true;
  };
  Decoded<Block> read_signed(FileRange range, const Signed& wanted);

  // Whether a block's last four bytes are the checksum of those before them.
  Decoded<void> check_sum(const Block& block) const;

  // Bytes of tensors: not counted.
  Decoded<void> read_data(std::uint64_t address, std::span<std::byte> out);

  Cursor cursor(const Block& block) const noexcept { return {block.bytes, block.at, widths_}; }

 private:
  File(Source& source, const FileOptions& options) : source_(&source), options_(options) {}
  Decoded<std::vector<std::byte>> find_superblock();
  Decoded<void> read_superblock(std::span<const std::byte> bytes);
  Decoded<void> take_old(Cursor& cursor);
  Decoded<void> take_new(Cursor& cursor, std::span<const std::byte> bytes, unsigned version);
  Decoded<void> check_end(std::uint64_t base_address, std::uint64_t end_address) const;
  Decoded<void> check_inside(FileRange range) const;

  Source* source_;
  FileOptions options_;
  Widths widths_;
  std::uint64_t base_bytes_ = 0;  // where the superblock lies
  std::uint64_t root_address_ = 0;
  std::uint64_t read_bytes_ = 0;  // of structures, with what each costs
};

// Bytes that a number up to `most` takes.
inline unsigned width_of(std::uint64_t most) noexcept {
  return std::max(1u, static_cast<unsigned>(std::bit_width(most) + 7) / 8);
}

// Bob Jenkins' lookup3 ("hashlittle", begun with 0), as the file's structures have it.
std::uint32_t lookup3(std::span<const std::byte> bytes) noexcept;

}  // namespace cairn::format::hdf5
