#pragma once

// What is this file? Told from its first and last bytes, never from its name.

#include <string>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::compat {

enum class FileType : std::uint8_t {
  Empty,
  CairnIndex,
  Table,  // a TensorFlow index or V1 checkpoint
  Safetensors,
  Hdf5,
  Zip,
  Gguf,
  Pickle,
  CatalogText,
  Unknown,
};

Result<FileType> identify(const os::File& file);

// "a Zip archive, such as PyTorch, Keras and NumPy write": what a user should know of it.
std::string describe(FileType type);

}  // namespace cairn::compat
