#pragma once

// All tensors of an HDF5 file, and all attributes. FORMAT.md, "HDF5".

#include <optional>
#include <string>
#include <vector>

#include "format/facts.h"
#include "format/hdf5/dataset.h"

namespace cairn::format::hdf5 {

struct Tensor {
  // Named by its path without the first '/'. What lies in the file as it is has its place there, of
  // shard 0; what must be decoded has a size only.
  TensorFacts facts;
  std::optional<std::size_t> decoded;  // which of Contents::to_decode it is
};

struct Contents {
  std::vector<Tensor> tensors;  // sorted by name
  std::vector<Dataset> to_decode;
  // Attributes of "/" as "/@NAME", of a group or a dataset as "/PATH@NAME"; sorted by key.
  KeyValues metadata;
  // What is in the file and not above, a sentence without a full stop for each.
  std::vector<std::string> left_out;
};

// Each group is entered once, by the first path that leads to it; a dataset has each of its names.
// Links that are not hard are not followed. Errors: Corrupt; Unsupported (a limit of limits.h); Io.
// In a file that need not be whole, what is damaged is left out.
Decoded<Contents> read_contents(File& file);

}  // namespace cairn::format::hdf5
