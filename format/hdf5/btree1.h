#pragma once

// Nodes of B-trees of version 1, which hold the symbol tables of a group or the chunks of a
// dataset.

#include <cstdint>
#include <optional>

#include "format/hdf5/file.h"

namespace cairn::format::hdf5 {

enum class BTree1 : std::uint8_t { Group = 0, Chunks = 1 };

struct BTree1Place {
  std::uint64_t address = 0;
  std::optional<unsigned> level;  // that it must be of; nothing: the root's is not known before
  BTree1 type{};
};

struct BTree1Head {
  unsigned level = 0;            // 0: a leaf
  std::uint64_t count = 0;       // of its entries
  std::uint64_t size_bytes = 0;  // of the head; the entries follow it
};

// Errors: those of File::read_signed(); Corrupt: another type, or another level.
Decoded<BTree1Head> read_btree1_head(File& file, const BTree1Place& place);

}  // namespace cairn::format::hdf5
