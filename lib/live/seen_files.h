#pragma once

// The files of a checkpoint as they are at this moment, without opening it.

#include <filesystem>
#include <vector>

#include "cairn/live.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// All files that may belong to the checkpoint at this path, by name: whose names are its base, or
// begin with it and a dot; if it is a directory, the files in it. Temporary files are left out.
// Empty: there is none. Links are followed.
std::vector<SeenFile> files_at(const std::filesystem::path& path);

// The index files that an open checkpoint was read from, and its shards. The last shard may be in
// memory (Parts::decoded): then it is no file that has a path.
std::vector<SeenFile> index_files(const Parts& parts);
Result<std::vector<SeenFile>> shard_files(const Parts& parts);

// Whether each of these files is still there, as it was.
bool are_unchanged(const std::vector<SeenFile>& files);

// Whether both are the same file, and nobody has written to it in between. Its name may differ.
inline bool is_same_file(const SeenFile& a, const SeenFile& b) noexcept {
  return a.device == b.device && a.inode == b.inode && a.size_bytes == b.size_bytes &&
         a.mtime_ns == b.mtime_ns;
}

}  // namespace cairn::internal
