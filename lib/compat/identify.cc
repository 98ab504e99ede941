#include "lib/compat/identify.h"

#include <array>
#include <string_view>

#include "format/le.h"
#include "lib/try.h"

namespace cairn::compat {
namespace {

constexpr std::string_view kCairnMagic =
    "\x89"
    "CAIRN\r\n";
constexpr std::string_view kTableMagic = "\x57\xfb\x80\x8b\x24\x75\x47\xdb";  // the last 8 bytes
constexpr std::string_view kHdf5Magic = "\x89HDF\r\n\x1a\n";
constexpr std::string_view kCatalogWord = "model_checkpoint_path";

// Up to 64 bytes from either end.
Result<std::string> some_bytes(const os::File& file, std::uint64_t offset_bytes) {
  std::string bytes(64, '\0');
  CAIRN_TRY(count, file.read_some_at(offset_bytes, std::as_writable_bytes(std::span(bytes))));
  bytes.resize(count);
  return bytes;
}

FileType by_first_bytes(std::string_view head) noexcept {
  if (head.starts_with(kCairnMagic)) return FileType::CairnIndex;
  if (head.starts_with(kHdf5Magic)) return FileType::Hdf5;
  if (head.starts_with("PK\x03\x04")) return FileType::Zip;
  if (head.starts_with("GGUF")) return FileType::Gguf;
  if (head.size() > 8 && head[8] == '{') return FileType::Safetensors;
  if (head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5) return FileType::Pickle;
  if (head.find(kCatalogWord) != std::string_view::npos) return FileType::CatalogText;
  return FileType::Unknown;
}

}  // namespace

Result<FileType> identify(const os::File& file) {
  CAIRN_TRY(info, file.info());
  if (info.size_bytes == 0) return FileType::Empty;
  CAIRN_TRY(head, some_bytes(file, 0));
  CAIRN_TRY(tail, some_bytes(file, info.size_bytes > 64 ? info.size_bytes - 64 : 0));
  if (tail.ends_with(kTableMagic)) return FileType::Table;
  return by_first_bytes(head);
}

std::string describe(FileType type) {
  switch (type) {
    case FileType::Empty:
      return "an empty file";
    case FileType::CairnIndex:
      return "a Cairn index";
    case FileType::Table:
      return "a TensorFlow V1 checkpoint, or the index of a V2 checkpoint under another name";
    case FileType::Safetensors:
      return "a safetensors file";
    case FileType::Hdf5:
      return "an HDF5 file, such as Keras 2 writes";
    case FileType::Zip:
      return "a Zip archive, such as PyTorch, Keras 3 and NumPy write";
    case FileType::Gguf:
      return "a GGUF file";
    case FileType::Pickle:
      return "a Python pickle, which can run code when loaded";
    case FileType::CatalogText:
      return "a catalog (CheckpointState); give its directory";
    case FileType::Unknown:
      break;
  }
  return "nothing that is known here as a checkpoint";
}

}  // namespace cairn::compat
