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

// By whichever index stands: P.cairn, unless TensorFlow wrote P.index anew since; else P.index; or
// the safetensors header. One attempt: Busy, NotFound, Corrupt or Io may be a race. `threads_max`
// as in Work: a large P.cairn is read and checked by two.
Result<Parts> load(Location& location, bool follow_links, OpenAttempt& attempt,
                   unsigned threads_max = 1);

// The same without the warning of `bytes_doubtful`, for who calls the checkpoint otherwise by the
// time that it is read: doubt_warning() has it.
Result<Parts> load_quietly(Location& location, bool follow_links, OpenAttempt& attempt,
                           unsigned threads_max = 1);
std::string doubt_warning(const std::filesystem::path& prefix);

// Whether an error says how the disk is today, not what a file is. Who takes the one for the other
// overlooks a pin, a commit or an index, and deletes.
bool may_pass(const Error& error) noexcept;

// A checkpoint from whatever path the user has; again where writers came between. An error of a
// catalog's latest names the newest that is whole.
struct Found {
  Location location;
  Parts parts;
  IndexIdentities seen;  // of the indexes, before they were read
};
Result<Found> find(const std::filesystem::path& path, bool follow_links,
                   const FormatOptions& formats = {});

// P.cairn by itself, no shard looked at.
struct OwnIndex {
  os::Bytes bytes;
  format::IndexView index;
  bool current = false;  // P.index has not been written anew since
};
Result<OwnIndex> load_own_index(const Location& location);

// Whether the checkpoint can be opened; the reason where not.
Result<void> check_openable(const std::filesystem::path& prefix, bool follow_links);

// The same in a directory that is open; `prefix` is for messages.
Result<void> check_openable_in(const os::Directory& directory, const std::string& base,
                               const std::filesystem::path& prefix);

// The parts of a location that is a file, whatever FILE.cairn says.
Result<Parts> load_file_itself(const Location& location);

// What the one file of a location says (Kind::File). Not `whole`: tensors may lie behind its end.
struct FileIndex;
Result<FileIndex> read_file(const Location& location, bool whole);

// For index_only. A file that is its own index had to be opened; from here on nobody reads it.
void leave_shards(Parts& parts);

// The parts of what a file says.
struct FileFormat;
Result<Parts> assemble_file(FileIndex read, const FileFormat& format,
                            const std::filesystem::path& prefix, OpenAttempt& attempt);

}  // namespace cairn::internal
