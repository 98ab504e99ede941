#pragma once

// Reading .npy files: what numpy.save writes, versions 1.0 to 3.0.

#include <cstdint>
#include <filesystem>
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
  std::size_t string_bytes = 0;  // of a String: every element's width in the file
};

// Reads the header, and compares the file's size with it. Errors: NotFound, Io; Unsupported
// (Fortran order, big-endian, objects, structures, text that is not bytes); Corrupt (no .npy file,
// a malformed header, a file that is shorter or longer than its header says).
Result<NpyFile> open_npy(const std::filesystem::path& path);

// Writes the elements as those of the tensor `name`, some blocks at a time; strings, which lose the
// NUL bytes that numpy pads them with, all at once. Errors: Io, those of Writer.
Result<void> pour_npy(const NpyFile& file, std::string_view name, Writer& writer);

}  // namespace cairn::tools
