#include "lib/open/file_formats.h"

#include <algorithm>
#include <array>

namespace cairn {
namespace internal {
namespace {

constexpr std::array kFileFormats = {
    FileFormat{Format::Safetensors, "safetensors", ".safetensors", FileType::Safetensors,
               read_safetensors},
    FileFormat{Format::Npy, "npy", ".npy", FileType::Numpy, read_npy},
    FileFormat{Format::Npz, "npz", ".npz", FileType::NumpyArchive, read_npz},
};

const FileFormat* named_as(std::string_view file_name) noexcept {
  const auto* const found = std::ranges::find_if(
      kFileFormats, [&](const FileFormat& each) { return file_name.ends_with(each.suffix); });
  return found == kFileFormats.end() ? nullptr : found;
}

}  // namespace

const FileFormat* file_format(FileType type, std::string_view file_name) noexcept {
  const auto* const found = std::ranges::find(kFileFormats, type, &FileFormat::type);
  return found == kFileFormats.end() ? named_as(file_name) : found;
}

bool is_named_as_file(std::string_view file_name) noexcept {
  return named_as(file_name) != nullptr;
}

}  // namespace internal

std::string_view name(Format format) noexcept {
  switch (format) {
    case Format::Cairn:
      return "cairn";
    case Format::TensorFlow:
      return "tensorflow";
    case Format::TensorFlowV1:
      return "tensorflow-v1";
    default:
      break;
  }
  using internal::kFileFormats;
  const auto* const found = std::ranges::find(kFileFormats, format, &internal::FileFormat::format);
  return found == kFileFormats.end() ? "unknown" : found->name;
}

}  // namespace cairn
