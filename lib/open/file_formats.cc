#include "lib/open/file_formats.h"

#include <algorithm>
#include <array>
#include <string>

#include "lib/try.h"

namespace cairn {
namespace internal {
namespace {

constexpr std::array kFileFormats = {
    FileFormat{Format::Safetensors, "safetensors", ".safetensors", FileType::Safetensors,
               read_safetensors},
    FileFormat{Format::Safetensors, "safetensors", ".safetensors.index.json",
               FileType::SafetensorsIndex, read_hub_index},
    FileFormat{Format::Npy, "npy", ".npy", FileType::Numpy, read_npy},
    FileFormat{Format::Gguf, "gguf", ".gguf", FileType::Gguf, read_gguf},
    FileFormat{Format::Hdf5, "hdf5", ".h5", FileType::Hdf5, read_hdf5},
    FileFormat{Format::Hdf5, "hdf5", ".hdf5", FileType::Hdf5, read_hdf5},
    FileFormat{Format::Keras, "keras", ".keras", FileType::KerasArchive, read_keras},
    FileFormat{Format::Keras, "keras", ".weights.json", FileType::KerasIndex, read_keras_index},
    FileFormat{Format::Npz, "npz", ".npz", FileType::NumpyArchive, read_npz},
    FileFormat{Format::Onnx, "onnx", ".onnx", FileType::Onnx, read_onnx},
    FileFormat{Format::Ptd, "ptd", ".ptd", FileType::Ptd, read_ptd},
    FileFormat{Format::Tflite, "tflite", ".tflite", FileType::Tflite, read_tflite},
    FileFormat{Format::PyTorch, "pytorch", ".pt", FileType::PyTorchArchive, read_torch},
    FileFormat{Format::PyTorch, "pytorch", ".pth", FileType::PyTorchArchive, read_torch},
    FileFormat{Format::PyTorch, "pytorch", ".pt2", FileType::PyTorchArchive, read_torch},
    FileFormat{Format::PyTorch, "pytorch", ".pt", FileType::PyTorchLegacy, read_torch_legacy},
    FileFormat{Format::PyTorch, "pytorch", ".pth", FileType::PyTorchLegacy, read_torch_legacy},
    FileFormat{Format::PyTorch, "pytorch", ".bin.index.json", FileType::PyTorchIndex,
               read_torch_hub_index},
    FileFormat{Format::PyTorch, "pytorch", ".metadata", FileType::PyTorchDistributed,
               read_torch_distributed},
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

const FileFormat& with_suffix_of(const FileFormat& format, std::string_view file_name) noexcept {
  const auto* const found = std::ranges::find_if(kFileFormats, [&](const FileFormat& each) {
    return each.type == format.type && file_name.ends_with(each.suffix);
  });
  return found == kFileFormats.end() ? format : *found;
}

std::string stem_of(const FileFormat& format, std::string_view file_name) {
  if (file_name.ends_with(format.suffix)) file_name.remove_suffix(format.suffix.size());
  return std::string(file_name);
}

bool is_named_as_file(std::string_view file_name) noexcept {
  return named_as(file_name) != nullptr;
}

Result<void> check_in_one_file(const Location& location) {
  if (location.kind != Kind::File) return {};
  CAIRN_TRY(file, open_shard(location.directory, location.base, true));
  const std::string path = file.file.path();
  const auto read = location.file_format->read(std::move(file), {location.base, false});
  if (!read || read->part_count == 1) return {};
  return Error{Code::Unsupported, 0,
               path + ": is one of " + std::to_string(read->part_count) +
                   " files of a split model, which no one step can copy, move or remove; "
                   "convert() (cairn convert) writes them as one checkpoint"};
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
