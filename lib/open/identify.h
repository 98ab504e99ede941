#pragma once

// What is this file? Told from its first and last bytes; only what has no mark of its own is told
// from its name.

#include <initializer_list>
#include <string>
#include <string_view>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::internal {

enum class FileType : std::uint8_t {
  Empty,
  CairnIndex,
  Table,  // a TensorFlow index or V1 checkpoint
  Safetensors,
  SafetensorsIndex,  // of several files; identify() says Json, since only the name tells
  Hdf5,
  KerasArchive,
  KerasIndex,  // of several files; identify() says Json, since only the name tells
  PyTorchArchive,
  PyTorchLegacy,       // from before the archives
  PyTorchIndex,        // of several files; identify() says Json, since only the name tells
  PyTorchDistributed,  // its .metadata; identify() says Pickle, since only the name tells
  NumpyArchive,
  Zip,  // any other
  Numpy,
  Gguf,
  Onnx,  // protobuf, which has no mark: only the name tells, and identify() says Unknown
  Ptd,
  Tflite,
  Pte,
  Ort,
  GitLfsPointer,
  Html,
  Xml,
  Json,
  Compressed,
  Tar,
  Pickle,
  Msgpack,
  Events,
  Records,
  CatalogText,
  Unknown,
};

Result<FileType> identify(const os::File& file);

// What a file is whose name promised an index or tensors, and whose contents were refused: `error`
// in the words of what it is, where that is known. Otherwise, and where it is one of `promised`, as
// it was.
Error named_for_what_it_is(const os::File& file, Error error,
                           std::initializer_list<FileType> promised = {});

// What a user should know of a file that is no checkpoint and belongs to none, and what to give
// instead. Continues "FILE: is ".
std::string describe(std::string_view name, FileType type);

// The prefix of the checkpoint that TensorFlow was about to write when it made a directory of this
// name; empty: it is none of those.
std::string_view base_of_unfinished(std::string_view directory_name) noexcept;

}  // namespace cairn::internal
