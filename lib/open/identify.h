#pragma once

// What is this file? Its first and last bytes decide; only for types without magic bytes the name
// decides.

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

// The same, of a file that the caller has just looked at.
Result<FileType> identify(const os::File& file, const os::FileInfo& info);

// For a file whose name promised an index or tensors and whose contents were refused: replaces the
// message of `error` by one that says what the file is, if that is known and is not one of
// `promised`.
Error named_for_what_it_is(const os::File& file, Error error,
                           std::initializer_list<FileType> promised = {});

// What a file is that is not a checkpoint and belongs to none, and what to give instead. Continues
// "FILE: is ".
std::string describe(std::string_view name, FileType type);

// The prefix of the checkpoint that TensorFlow was writing when it made a directory of this name;
// empty: it is not such a directory.
std::string_view base_of_unfinished(std::string_view directory_name) noexcept;

}  // namespace cairn::internal
