#pragma once

// The formats whose checkpoint is one file, or several files that name one another. To add a
// format: docs/ARCHITECTURE.md, "To add a format".

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/facts.h"
#include "format/plain_tensors.h"
#include "lib/open/assemble.h"
#include "lib/open/identify.h"

namespace cairn::internal {

// How a file is read.
struct FileReadOptions {
  const std::string& name;  // of its shard
  // False: tensors may reach beyond the end of the file, and damaged ones are left out, with a
  // warning.
  bool whole = true;
  // The place of the other files of a model in several files; nullptr: read this file alone.
  const Location* model = nullptr;
  FormatOptions formats = {};
  // True: the tensors may be in FileIndex::plain instead of its facts.
  bool plain = false;
};

// An open file and its index: its shards, in the order of the facts. The last shard is in memory,
// if something had to be decoded.
struct FileIndex {
  OpenShard shard;
  format::IndexFacts facts;
  std::vector<std::string> left_out;  // warnings: what the file has and the facts do not have
  std::uint64_t part_count = 1;       // number of files of the checkpoint
  std::vector<OpenShard> others;      // the shards after the first one, if the model was given
  std::optional<OpenShard> decoded;   // the last shard: what had to be decoded, in memory
  std::shared_ptr<DecodedMembers> decoded_members;  // decodes it on use; nullptr: it is decoded
  std::vector<std::string> warnings;                // about what is read in an unexpected way
  std::optional<format::PlainTensors> plain;  // in place of facts.tensors, which are none then
};

struct FileFormat {
  Format format{};
  std::string_view name;    // the result of name(Format)
  std::string_view suffix;  // of the files' names; removed for the checkpoint's prefix
  FileType type{};          // the result of identify() for such a file
  Result<FileIndex> (*read)(OpenShard file, const FileReadOptions& how) = nullptr;
};

// The format of a file by its type, or else by the suffix of its name; nullptr: none.
const FileFormat* file_format(FileType type, std::string_view file_name) noexcept;

// The row of the same type whose suffix the file name has; if there is none, `format`.
const FileFormat& with_suffix_of(const FileFormat& format, std::string_view file_name) noexcept;

// The file's name without the suffix of the format, if it has it.
std::string stem_of(const FileFormat& format, std::string_view file_name);

// Whether the name has the suffix of one of the formats.
bool is_named_as_file(std::string_view file_name) noexcept;

// The openers in the rows.
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

// Unsupported: the file is one of several, which cannot be copied, moved or removed in one step.
Result<void> check_in_one_file(const Location& location);

}  // namespace cairn::internal
