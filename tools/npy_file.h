#pragma once

// .npy files as what is saved: the library reads them, as any other checkpoint.

#include <filesystem>
#include <optional>
#include <string_view>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/writer.h"

namespace cairn::tools {

struct NpyFile {
  Checkpoint checkpoint;
  Tensor tensor;  // its only one; numpy's strings ("S5") are opaque
  DType dtype{};  // of what is saved
};

// `wanted`: what the elements are, where numpy has no type for them. Errors: those of
// Checkpoint::open; NotFound; Unsupported (another file than .npy, elements that no tensor holds,
// that cannot be `wanted`, or that have no type and it is not given).
Result<NpyFile> open_npy(const std::filesystem::path& path, std::optional<DType> wanted);

// Writes the elements as those of the tensor `name`, little-endian and row-major. Memory: the array
// where it is neither; of strings, which lose the NUL bytes that numpy pads them with, twice that.
// Errors: those of Tensor::bytes and Writer.
Result<void> write_npy(const NpyFile& file, std::string_view name, Writer& writer);

}  // namespace cairn::tools
