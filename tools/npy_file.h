#pragma once

// Reading .npy files: what numpy.save writes, versions 1.0 to 3.0.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "cairn/tensor.h"
#include "cairn/writer.h"

namespace cairn::tools {

struct NpyFile {
  std::filesystem::path path;
  DType dtype{};
  std::vector<std::int64_t> shape;
  std::uint64_t data_offset_bytes = 0;
  std::uint64_t data_bytes = 0;
  std::size_t element_bytes = 0;  // in the file, of a String too
  std::size_t swap_bytes = 0;     // big-endian: so many swap together
  bool fortran_order = false;     // the first dimension varies fastest
};

// Reads the header, and compares the file's size with it. `wanted`: what the elements are, where
// numpy has no type for them. Errors: NotFound, Io; Unsupported (objects, structures, text that is
// not bytes, elements that cannot be `wanted`, or have no type and that is not given); Corrupt (no
// .npy file, a malformed header, a file that is shorter or longer than its header says).
Result<NpyFile> open_npy(const std::filesystem::path& path, std::optional<DType> wanted);

// Writes the elements as those of the tensor `name`, little-endian and row-major, some blocks at a
// time; those in Fortran order, and strings, which lose the NUL bytes that numpy pads them with,
// all at once. Errors: Io, those of Writer.
Result<void> pour_npy(const NpyFile& file, std::string_view name, Writer& writer);

}  // namespace cairn::tools
