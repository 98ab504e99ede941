#pragma once

// From a location to the parts of an open checkpoint: an index (Cairn's own, or one built in memory
// from a foreign one) and open shards of the right size. No tensor byte is touched.

#include <filesystem>
#include <string>

#include "cairn/checkpoint.h"
#include "format/cairn/index.h"
#include "lib/open/attempt.h"
#include "lib/open/locate.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/origin.h"

namespace cairn::internal {

// By the valid index: P.cairn, unless TensorFlow has written P.index again since; else P.index; for
// a file of another format, what the file says. One attempt: Busy, NotFound, Corrupt or Io may be a
// race. `threads_max` as in ExecOptions: two threads read and check a large P.cairn.
Result<Parts> load(Location& location, bool follow_links, OpenAttempt& attempt,
                   unsigned threads_max = 1);

// The same without the warning about Parts::bytes_doubtful, for callers that will give the
// checkpoint another name before anybody reads the warning. They add doubt_warning() themselves.
Result<Parts> load_quietly(Location& location, bool follow_links, OpenAttempt& attempt,
                           unsigned threads_max = 1);
std::string doubt_warning(const std::filesystem::path& prefix);

// Whether an error is about the state of the disk now and not about the file. Code that confuses
// the two would overlook a pin, a commit or an index, and delete files.
bool may_pass(const Error& error) noexcept;

// A checkpoint by a path of any kind. If a writer replaces files meanwhile, the attempt is
// repeated. If the latest checkpoint of a catalog has an error, the message names the newest one
// that is whole.
struct Found {
  Location location;
  Parts parts;
  IndexIdentities seen;  // of the indexes, before they were read
};
Result<Found> find(const std::filesystem::path& path, bool follow_links,
                   const FormatOptions& formats = {});

// P.cairn alone; no shard is opened.
struct OwnIndex {
  os::Bytes bytes;
  format::IndexView index;
  bool current = false;  // P.index was not written again since
};
Result<OwnIndex> load_own_index(const Location& location);

// Whether the checkpoint can be opened; if not, the error says why.
Result<void> check_openable(const std::filesystem::path& prefix, bool follow_links);

// The same in a directory that is open; `prefix` is for messages.
Result<void> check_openable_in(const os::Directory& directory, const std::string& base,
                               const std::filesystem::path& prefix);

// The parts of a location that is a file, by the file itself and not by FILE.cairn.
Result<Parts> load_file_itself(const Location& location);

// The index of the one file of a location (Kind::File).
struct FileIndex;
struct ReadFileOptions {  // as in FileReadOptions
  bool whole = true;
  bool plain = false;
};
Result<FileIndex> read_file(const Location& location, ReadFileOptions how);

// For index_only: closes the shards. A file of another format was opened, because it holds its own
// index, and is not read any more.
void leave_shards(Parts& parts);

// The parts of an open checkpoint, from the index of its file.
struct FileFormat;
Result<Parts> assemble_file(FileIndex read, const FileFormat& format,
                            const std::filesystem::path& prefix, OpenAttempt& attempt);

}  // namespace cairn::internal
