#pragma once

// Where the chunks of a dataset lie, by whichever index it has.

#include <vector>

#include "format/hdf5/dataset.h"

namespace cairn::format::hdf5 {

// How a dataset is divided.
class ChunkGrid {
 public:
  explicit ChunkGrid(const Dataset& set);

  std::uint64_t chunk_bytes() const noexcept { return chunk_bytes_; }
  // Chunks in each dimension that have elements; none: there are no elements.
  const std::vector<std::uint64_t>& counts() const noexcept { return counts_; }
  std::uint64_t count() const noexcept { return count_; }

  // The number of a chunk, row-major; count(): it has no element of the dataset.
  std::uint64_t number(const std::vector<std::uint64_t>& position) const noexcept;
  std::vector<std::uint64_t> position(std::uint64_t number) const;

 private:
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 1;
  std::uint64_t chunk_bytes_ = 0;
};

struct Chunk {
  std::uint64_t number = 0;
  std::uint64_t address = 0;
  std::uint64_t stored_bytes = 0;
  std::uint32_t skipped_filters = 0;  // a bit for each
};

// Those that are stored and have elements of the dataset, by number, each once and none over
// another. Errors: Corrupt; Unsupported.
Decoded<std::vector<Chunk>> read_chunks(File& file, const Dataset& set);

}  // namespace cairn::format::hdf5
