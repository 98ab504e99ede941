#pragma once

// B-trees of version 2: the records of a tree, one after another.

#include <functional>

#include "format/hdf5/file.h"

namespace cairn::format::hdf5 {

enum class RecordType : std::uint8_t {
  HugeObject = 1,
  LinkByName = 5,
  AttributeByName = 8,
  Chunk = 10,
  FilteredChunk = 11,
};

// Calls `visit` with each record. Errors: Corrupt (another type than `wanted` too); Unsupported;
// what `visit` says.
Decoded<void> visit_records(File& file, std::uint64_t address, RecordType wanted,
                            const std::function<Decoded<void>(Cursor)>& visit);

}  // namespace cairn::format::hdf5
