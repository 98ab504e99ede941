#pragma once

// NAME.weights.json: which of several HDF5 files hold the weights of a Keras model. FORMAT.md,
// "HDF5".

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"

namespace cairn::format::hdf5 {

struct KerasIndex {
  // The names of the files, sorted, each once. They come from outside: nothing says that one is a
  // bare name.
  std::vector<std::string> files;
  // What "metadata" says, sorted by key. A value that is no string is here as its JSON text: "412".
  KeyValues metadata;
};

// Decodes the whole file. Errors: Corrupt (no JSON, no weight_map of file names, metadata that is
// there twice); Unsupported (more files than limits::kShardsMax).
Decoded<KerasIndex> decode_keras_index(std::span<const std::byte> json);

}  // namespace cairn::format::hdf5
