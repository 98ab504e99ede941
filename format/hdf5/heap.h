#pragma once

// The three heaps that names and values lie in.

#include <map>
#include <string_view>

#include "format/hdf5/file.h"

namespace cairn::format::hdf5 {

// Names of a group with a symbol table.
class LocalHeap {
 public:
  static Decoded<LocalHeap> open(File& file, std::uint64_t address);
  // Corrupt: no text begins there.
  Decoded<std::string_view> text_at(std::uint64_t offset) const;

 private:
  Block data_;
};

// Links or attributes of a group with many: read as a whole.
class FractalHeap {
 public:
  static Decoded<FractalHeap> open(File& file, std::uint64_t address);

  unsigned id_bytes() const noexcept { return id_bytes_; }

  // The object of an identifier, which lives as long as the heap. Errors: Corrupt; Unsupported.
  Decoded<Cursor> object(Cursor id);

 private:
  struct Child;
  explicit FractalHeap(File& file) : file_(&file) {}
  Decoded<void> read_header(std::uint64_t address);
  Decoded<void> read_blocks();
  Decoded<void> read_direct(const Child& child);
  Decoded<void> read_indirect(const Child& child, std::vector<Child>& children);
  Decoded<Cursor> managed(Cursor id) const;
  Decoded<Cursor> huge(Cursor id);
  std::uint64_t row_block_bytes(std::uint64_t row) const noexcept;
  std::uint64_t direct_rows() const noexcept;

  File* file_;
  std::uint64_t address_ = 0;
  unsigned id_bytes_ = 0;
  bool has_sums_ = false;
  std::uint64_t huge_tree_address_ = 0;
  std::uint64_t width_ = 0;  // blocks in a row
  std::uint64_t start_bytes_ = 0;
  std::uint64_t direct_bytes_max_ = 0;
  std::uint64_t managed_bytes_max_ = 0;
  unsigned heap_bits_ = 0;
  std::uint64_t root_address_ = 0;
  std::uint64_t root_rows_ = 0;
  std::map<std::uint64_t, Block> blocks_;       // by their place in the heap
  std::map<std::uint64_t, FileRange> huge_;     // by their number
  std::map<std::uint64_t, Block> huge_blocks_;  // those that were read
  bool has_huge_ = false;
};

// A value of variable length: what a dataset or an attribute holds in its place.
struct GlobalReference {
  std::uint64_t size = 0;
  std::uint64_t heap_address = 0;
  std::uint64_t index = 0;
};

class GlobalHeaps {
 public:
  explicit GlobalHeaps(File& file) : file_(file) {}
  // Corrupt: it is not there. Lives as long as this.
  Decoded<std::span<const std::byte>> value(const GlobalReference& reference);

 private:
  struct Heap {
    Block block;
    std::map<std::uint64_t, std::span<const std::byte>> objects;
  };
  Decoded<Heap> read(std::uint64_t address);

  File& file_;
  std::map<std::uint64_t, Heap> heaps_;  // by address
};

}  // namespace cairn::format::hdf5
