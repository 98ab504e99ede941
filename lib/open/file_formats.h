#pragma once

// The formats whose checkpoint is one file, or several that call each other. To add one: a decoder
// in format/, an opener beside npy.cc, and a row in the table of file_formats.cc.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/facts.h"
#include "lib/open/assemble.h"
#include "lib/open/identify.h"

namespace cairn::internal {

// How a file is read.
struct FileReadOptions {
  const std::string& name;  // of its shard
  // Not: tensors may lie behind its end, and what is damaged is left out, with a warning.
  bool whole = true;
  // Where the other files of a model in several lie; nullptr: what the file alone says.
  const Location* model = nullptr;
  FormatOptions formats = {};
};

// A file that is open, and what it says: one shard, and one more in memory where something in it
// had to be decoded, in the order of the facts.
struct FileIndex {
  OpenShard shard;
  format::IndexFacts facts;
  std::vector<std::string> left_out;  // what the file has and the facts do not; warnings
  std::uint64_t part_count = 1;       // files that the checkpoint lies in
  std::vector<OpenShard> others;      // the shards behind the first one, where the model is read
  std::optional<OpenShard> decoded;   // the last shard: what had to be decoded, in memory
  std::shared_ptr<DecodedMembers> decoded_members;  // what decodes it on use; nullptr: it is there
  std::vector<std::string> warnings;                // of what is read, but not as one might think
};

struct FileFormat {
  Format format{};
  std::string_view name;    // what name(Format) says
  std::string_view suffix;  // of files' names; taken off for the checkpoint's prefix
  FileType type{};          // by which identify() knows it
  Result<FileIndex> (*read)(OpenShard file, const FileReadOptions& how) = nullptr;
};

// The format of a file that is of this type, or else has a name of its kind; nullptr: of none.
const FileFormat* file_format(FileType type, std::string_view file_name) noexcept;

// The row for the same files that has this file's suffix; `format`: there is none.
const FileFormat& with_suffix_of(const FileFormat& format, std::string_view file_name) noexcept;

// Whether files of one of the formats are named so.
bool is_named_as_file(std::string_view file_name) noexcept;

// The rows' openers.
Result<FileIndex> read_safetensors(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_hub_index(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_npy(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_npz(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_gguf(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_hdf5(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_keras(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_keras_index(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_onnx(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_ptd(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_tflite(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_torch(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_torch_legacy(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_torch_file(OpenShard file, const FileReadOptions& how);  // either
Result<FileIndex> read_torch_distributed(OpenShard file, const FileReadOptions& how);
Result<FileIndex> read_torch_hub_index(OpenShard file, const FileReadOptions& how);

// Unsupported: the file is one of several parts, which no one step can copy, move or remove.
Result<void> check_in_one_file(const Location& location);

}  // namespace cairn::internal
