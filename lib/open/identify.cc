#include "lib/open/identify.h"

#include <algorithm>
#include <array>

#include "format/digest.h"
#include "format/le.h"
#include "format/safetensors/header.h"
#include "format/tensorflow/table.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::size_t kHeadBytes = 512;  // of a Zip archive, the name of its first file is in it

constexpr std::string_view kCatalogWord = "model_checkpoint_path";

struct Magic {
  std::string_view bytes;  // the first ones
  FileType type;
};
constexpr Magic kMagics[] = {
    {"\x89"
     "CAIRN\r\n",
     FileType::CairnIndex},
    {"\x89HDF\r\n\x1a\n", FileType::Hdf5},
    {"PK\x03\x04", FileType::Zip},
    {"PK\x05\x06", FileType::Zip},  // an empty one
    {"GGUF", FileType::Gguf},
    {"\x93NUMPY", FileType::Numpy},
};

// The marks of FlatBuffers, behind the offset of the first table.
constexpr std::size_t kSchemaMarkAt = 4;
constexpr Magic kSchemaMarks[] = {
    {"FT01", FileType::Ptd},
    {"TFL3", FileType::Tflite},
    {"ET12", FileType::Pte},
    {"ORTM", FileType::Ort},
};

// Up to kHeadBytes from either end.
Result<std::string> some_bytes(const os::File& file, std::uint64_t offset_bytes) {
  std::string bytes(kHeadBytes, '\0');
  CAIRN_TRY(count, file.read_some_at(offset_bytes, std::as_writable_bytes(std::span(bytes))));
  bytes.resize(count);
  return bytes;
}

// Whether PyTorch has such a record in the folder of its archive. Most archives begin with the
// pickle, those of TorchScript with a storage.
bool is_torch_record(std::string_view name) noexcept {
  const std::size_t slash = name.find('/');
  if (slash == 0 || slash == std::string_view::npos) return false;
  constexpr std::array<std::string_view, 6> kRecords = {
      "data.pkl", "version", "byteorder", ".format_version", ".storage_alignment", "constants.pkl"};
  const std::string_view record = name.substr(slash + 1);
  return std::ranges::find(kRecords, record) != kRecords.end() || record == "data/0" ||
         record == "constants/0" || record.starts_with("data/weights/") ||
         record.starts_with("data/constants/");
}

// By the name of the first file in it, which its writer chooses.
FileType archive_type(std::string_view head) noexcept {
  constexpr std::size_t kNameSizeAt = 26;
  constexpr std::size_t kNameAt = 30;
  if (head.size() < kNameAt) return FileType::Zip;
  const std::byte* const at = format::as_bytes(head).data() + kNameSizeAt;
  const std::string_view name = head.substr(kNameAt, format::load_le<std::uint16_t>(at));
  if (is_torch_record(name)) return FileType::PyTorchArchive;
  if (name.ends_with(".npy")) return FileType::NumpyArchive;
  if (name == "metadata.json" || name == "config.json" || name == "model.weights.h5")
    return FileType::KerasArchive;
  return FileType::Zip;
}

// A TFRecord begins with a length and its masked checksum; an event file is one, of which the first
// record names the version.
bool is_records(std::string_view head) noexcept {
  constexpr std::size_t kLengthBytes = 8;
  if (head.size() < kLengthBytes + 4) return false;
  const auto bytes = format::as_bytes(head);
  return format::crc32c_mask(format::crc32c(bytes.first(kLengthBytes))) ==
         format::load_le<std::uint32_t>(bytes.data() + kLengthBytes);
}

bool ends_as_table(std::string_view tail) noexcept {
  using format::tensorflow::kTableMagic;
  if (tail.size() < sizeof kTableMagic) return false;
  const auto end = format::as_bytes(tail).last(sizeof kTableMagic);
  return format::load_le<std::uint64_t>(end.data()) == kTableMagic;
}

// The length of a safetensors header, and its first byte.
constexpr std::size_t kLengthBytes = 8;

bool has_header(std::string_view head) noexcept {
  return head.size() > kLengthBytes && head[kLengthBytes] == '{';
}

// A safetensors file begins with a length, which no eight letters are: they would be more than any
// file has.
bool is_text(std::string_view head) noexcept {
  const std::string_view begin = head.substr(0, kLengthBytes);
  return !begin.empty() && std::ranges::all_of(begin, [](char character) {
    return static_cast<unsigned char>(character) >= ' ' || (character >= '\t' && character <= '\r');
  });
}

// The number that PyTorch's files begin with, pickled by any protocol: 1 has it as text, 4 and 5
// behind the length of a frame.
bool is_torch_legacy(std::string_view head) noexcept {
  using namespace std::string_view_literals;
  constexpr std::string_view kText = "L119547037146038801333356L\n."sv;
  constexpr std::string_view kMagic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv;
  constexpr std::size_t kFrameBytes = 9;
  if (head.starts_with(kText)) return true;
  if (!head.starts_with('\x80') || head.size() < 2) return false;
  head.remove_prefix(2);
  if (head.starts_with('\x95')) head.remove_prefix(std::min(head.size(), kFrameBytes));
  return head.starts_with(kMagic);
}

// What text is, by its first characters in lower case.
FileType by_text(std::string_view head) {
  if (head.starts_with("\xef\xbb\xbf")) head.remove_prefix(3);
  head.remove_prefix(std::min(head.find_first_not_of(" \t\r\n"), head.size()));
  std::string begin(head.substr(0, 32));
  std::ranges::transform(begin, begin.begin(), [](char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a')
                                                : character;
  });
  if (begin.starts_with("version ") && begin.find("//git-lfs") != std::string::npos)
    return FileType::GitLfsPointer;
  if (begin.starts_with("<!doctype html") || begin.starts_with("<html")) return FileType::Html;
  if (begin.starts_with("<?xml") || begin.starts_with("<error")) return FileType::Xml;
  if (begin.starts_with('{') || begin.starts_with('[')) return FileType::Json;
  return FileType::Unknown;
}

// What was packed after it was written.
FileType by_packing(std::string_view head) noexcept {
  constexpr std::size_t kTarMarkAt = 257;
  using namespace std::string_view_literals;
  for (const std::string_view magic : {"\x1f\x8b"sv,
                                       "\xfd"
                                       "7zXZ"sv,
                                       "\x28\xb5\x2f\xfd"sv, "BZh"sv}) {
    if (head.starts_with(magic)) return FileType::Compressed;
  }
  if (head.size() > kTarMarkAt && head.substr(kTarMarkAt).starts_with("ustar"))
    return FileType::Tar;
  return FileType::Unknown;
}

// No table begins so: its first key shares nothing with one before it, so its first byte is 0, also
// behind the length that Snappy puts in front.
bool has_magic(std::string_view head) noexcept {
  return std::ranges::any_of(kMagics,
                             [&](const Magic& magic) { return head.starts_with(magic.bytes); });
}

// The offset of the first table is less than any file has, so that no text begins so.
FileType by_schema_mark(std::string_view head) noexcept {
  if (head.size() < kSchemaMarkAt || head[3] != '\0') return FileType::Unknown;
  for (const Magic& mark : kSchemaMarks) {
    if (head.substr(kSchemaMarkAt).starts_with(mark.bytes)) return mark.type;
  }
  return FileType::Unknown;
}

// A map whose first key is a word, as flax writes it.
bool is_msgpack(std::string_view head) noexcept {
  if (head.size() < 3) return false;
  const auto first = static_cast<unsigned char>(head[0]);
  const auto second = static_cast<unsigned char>(head[1]);
  if (first < 0x81 || first > 0x8f || second < 0xa1 || second > 0xbf) return false;
  const std::string_view key = head.substr(2, second & 0x1f);
  return head.size() > key.size() + 2 && std::ranges::all_of(key, [](char character) {
           return character > ' ' && character < '\x7f';
         });
}

FileType by_first_bytes(std::string_view head) {
  for (const Magic& magic : kMagics) {
    if (!head.starts_with(magic.bytes)) continue;
    return magic.type == FileType::Zip ? archive_type(head) : magic.type;
  }
  if (const FileType type = by_schema_mark(head); type != FileType::Unknown) return type;
  if (is_torch_legacy(head)) return FileType::PyTorchLegacy;
  if (is_records(head)) {
    return head.find("brain.Event:") == std::string_view::npos ? FileType::Records
                                                               : FileType::Events;
  }
  const FileType text = is_text(head) ? by_text(head) : FileType::Unknown;
  if (text != FileType::Unknown) return text;
  if (has_header(head)) return FileType::Safetensors;
  const FileType packed = by_packing(head);
  if (packed != FileType::Unknown) return packed;
  if (head.size() > 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5) return FileType::Pickle;
  if (is_msgpack(head)) return FileType::Msgpack;
  if (head.find(kCatalogWord) != std::string_view::npos) return FileType::CatalogText;
  return FileType::Unknown;
}

// Whether a file of so many bytes begins as safetensors files do: the length of a header that it
// has room for, and the header. A table's first bytes, read as a length, are more than any file
// has.
bool begins_as_safetensors(std::string_view head, std::uint64_t file_bytes) {
  if (!has_header(head)) return false;
  const auto json_bytes =
      format::safetensors::header_json_bytes(format::as_bytes(head).first(kLengthBytes), true);
  return json_bytes && *json_bytes <= file_bytes - kLengthBytes;
}

// What has no mark in its bytes; empty: its name says nothing.
std::string_view by_name(std::string_view name) noexcept {
  if (name.find(".tempstate") != std::string_view::npos) {
    return "a temporary file of TensorFlow, whose save still runs or has died; give the prefix of "
           "a checkpoint";
  }
  if (os::is_temporary_name(name)) {
    return "a temporary file of Cairn, whose save still runs or has died; give the prefix of a "
           "checkpoint";
  }
  if (name.ends_with(".pb") || name.ends_with(".pbtxt")) {
    return "named like a graph (GraphDef), which is not a checkpoint: a frozen graph has its "
           "weights as constants; give the prefix of the checkpoint that it was made from";
  }
  return {};
}

// What holds no weights, or is not the file itself.
std::string_view no_model(FileType type) noexcept {
  switch (type) {
    case FileType::Empty:
      return "an empty file";
    case FileType::GitLfsPointer:
      return "a Git LFS pointer, which is in the place of the file; run 'git lfs pull' to get the "
             "file itself";
    case FileType::Html:
      return "an HTML page, such as a server sends instead of a file (an error, or a login); "
             "download the file again";
    case FileType::Xml:
      return "XML, such as an object store sends instead of a file (an error); download the file "
             "again";
    case FileType::Json:
      return "JSON text; if it lists the shards of a model (model.safetensors.index.json), give "
             "the .safetensors files that it names";
    case FileType::Compressed:
      return "a compressed file (gzip, xz, zstd or bzip2); decompress it, and give the result";
    case FileType::Tar:
      return "a tar archive; unpack it, and give a file from it";
    case FileType::Events:
      return "an event file of TensorBoard, which holds logs and no weights; give the prefix of a "
             "checkpoint";
    case FileType::Records:
      return "a TFRecord file, which holds training examples and no weights";
    case FileType::CatalogText:
      return "a catalog (CheckpointState) under another name; give a prefix that it lists, or its "
             "directory";
    default:
      return "not a checkpoint of a format that Cairn knows; open() lists the formats";
  }
}

std::string_view by_type(FileType type) noexcept {
  switch (type) {
    case FileType::CairnIndex:
      return "a Cairn index under another name; to open it, rename it to PREFIX.cairn in the "
             "directory of its shards";
    case FileType::Table:
      return "the index of a TensorFlow checkpoint (V2) under another name; to open it, rename it "
             "to PREFIX.index in the directory of its shards (PREFIX.data-00000-of-00001 and so "
             "on)";
    case FileType::Safetensors:
      return "a safetensors file";
    case FileType::SafetensorsIndex:
      return "the index of a safetensors model in several files";
    case FileType::Hdf5:
      return "an HDF5 file, such as Keras writes (.h5, .weights.h5)";
    case FileType::KerasArchive:
      return "a Keras archive (.keras), a Zip archive with its weights in the HDF5 file "
             "model.weights.h5";
    case FileType::KerasIndex:
      return "the index of a Keras model in several HDF5 files";
    case FileType::PyTorchArchive:
      return "a Zip archive of PyTorch's torch.save (.pt)";
    case FileType::PyTorchLegacy:
      return "a file of PyTorch's torch.save, of before its Zip archives";
    case FileType::PyTorchIndex:
      return "the index of a PyTorch model in several files";
    case FileType::PyTorchDistributed:
      return "the metadata of a distributed checkpoint of PyTorch";
    case FileType::NumpyArchive:
      return "a Zip archive of NumPy arrays (.npz)";
    case FileType::Zip:
      return "a Zip archive, such as PyTorch, Keras 3 and NumPy write";
    case FileType::Numpy:
      return "a NumPy array (.npy), of which a checkpoint can be saved";
    case FileType::Gguf:
      return "a GGUF file, such as llama.cpp reads";
    case FileType::Onnx:
      return "an ONNX model";
    case FileType::Ptd:
      return "a file of ExecuTorch's tensors (.ptd)";
    case FileType::Tflite:
      return "a TensorFlow Lite model (.tflite)";
    case FileType::Pte:
      return "an ExecuTorch program (.pte), which has its weights inside; export it with "
             "its weights in a .ptd file, and give that";
    case FileType::Ort:
      return "a model in ONNX Runtime's own format (.ort); give the .onnx file that it was made "
             "from";
    case FileType::Pickle:
      return "a Python pickle, which can run code when loaded; load it where it was made, and save "
             "its tensors as safetensors";
    case FileType::Msgpack:
      return "a msgpack file, such as flax writes, which Cairn cannot open; load it with "
             "flax.serialization.msgpack_restore, and save its arrays with "
             "safetensors.flax.save_file";
    default:
      return no_model(type);
  }
}

}  // namespace

Result<FileType> identify(const os::File& file) {
  CAIRN_TRY(info, file.info());
  return identify(file, info);
}

Result<FileType> identify(const os::File& file, const os::FileInfo& info) {
  if (info.size_bytes == 0) return FileType::Empty;
  CAIRN_TRY(head, some_bytes(file, 0));
  const bool other = has_magic(head) || by_schema_mark(head) != FileType::Unknown ||
                     begins_as_safetensors(head, info.size_bytes);
  // The last tensor of a file may end with any bytes, and is far from the first on a disk.
  if (!other) {
    CAIRN_TRY(tail,
              some_bytes(file, info.size_bytes > kHeadBytes ? info.size_bytes - kHeadBytes : 0));
    if (ends_as_table(tail)) return FileType::Table;
  }
  return by_first_bytes(head);
}

std::string describe(std::string_view name, FileType type) {
  const std::string_view named = by_name(name);
  return std::string(named.empty() ? by_type(type) : named);
}

Error named_for_what_it_is(const os::File& file, Error error,
                           std::initializer_list<FileType> promised) {
  const auto type = identify(file);
  const auto is_promised = [&](FileType each) {
    return std::ranges::find(promised, each) != promised.end();
  };
  if (!type || is_promised(*type)) return error;
  switch (*type) {
    case FileType::Empty:
    case FileType::CairnIndex:
    case FileType::Table:
    case FileType::Safetensors:
    case FileType::CatalogText:  // a word that a damaged index may hold
    case FileType::Unknown:
      return error;
    case FileType::Pickle:  // two bytes, which a length and a shard may begin with, and no archive
      if (!is_promised(FileType::Zip)) return error;
      [[fallthrough]];
    default:
      error.what = file.path() + ": is " + std::string(by_type(*type));
      return error;
  }
}

std::string_view base_of_unfinished(std::string_view directory_name) noexcept {
  constexpr std::string_view kMark = "_temp";
  constexpr std::size_t kDigits = 32;  // of old TensorFlows: "m_temp_0123…"
  std::string_view base = directory_name;
  if (base.size() > kDigits && base[base.size() - kDigits - 1] == '_' &&
      base.find_first_not_of("0123456789abcdef", base.size() - kDigits) == std::string_view::npos)
    base.remove_suffix(kDigits + 1);
  if (!base.ends_with(kMark)) return {};
  return base.substr(0, base.size() - kMark.size());
}

}  // namespace cairn::internal
