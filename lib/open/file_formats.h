#pragma once

// The formats whose checkpoint is one file. To add one: a decoder in format/, an opener beside
// npy.cc, and a row in the table of file_formats.cc.

#include <string>
#include <string_view>

#include "cairn/checkpoint.h"
#include "format/facts.h"
#include "lib/open/assemble.h"
#include "lib/open/identify.h"

namespace cairn::internal {

// A file that is open, and what it says: one shard, in the order of the facts.
struct FileIndex {
  OpenShard shard;
  format::IndexFacts facts;
};

struct FileFormat {
  Format format{};
  std::string_view name;    // what name(Format) says
  std::string_view suffix;  // of files' names; taken off for the checkpoint's prefix
  FileType type{};          // by which identify() knows it
  // What the file says; its shard gets the name. Not `whole`: tensors may lie behind its end.
  Result<FileIndex> (*read)(OpenShard file, const std::string& name, bool whole) = nullptr;
};

// The format of a file that is of this type, or else has a name of its kind; nullptr: of none.
const FileFormat* file_format(FileType type, std::string_view file_name) noexcept;

// Whether files of one of the formats are named so.
bool is_named_as_file(std::string_view file_name) noexcept;

// The rows' openers.
Result<FileIndex> read_safetensors(OpenShard file, const std::string& name, bool whole);
Result<FileIndex> read_npy(OpenShard file, const std::string& name, bool whole);

}  // namespace cairn::internal
