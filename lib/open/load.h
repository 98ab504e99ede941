#pragma once

// From a location to the parts of an open checkpoint: an index (Cairn's own, or one built in memory
// from a foreign one) and open shards of the right size. No tensor byte is touched.

#include <set>

#include "cairn/checkpoint.h"
#include "format/facts.h"
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
Result<Found> find(const std::filesystem::path& path, bool follow_links);

// P.index, read once and whole: TensorFlow may replace it, or truncate it in place, at any time.
struct TensorFlowIndex {
  const os::File* file;  // the attempt's
  os::Bytes bytes;
  format::TensorFlowIndexFacts record;  // by what these very bytes are recognised again
};
Result<TensorFlowIndex> read_tensorflow_index(const Location& location, OpenAttempt& attempt);

// P.cairn by itself, no shard looked at.
struct OwnIndex {
  os::Bytes bytes;
  format::IndexView index;
  bool current = false;  // P.index has not been written anew since
};
Result<OwnIndex> load_own_index(const Location& location);

// By P.index alone.
Result<Parts> load_tensorflow(const Location& location, bool follow_links,
                              const TensorFlowIndex& index, const OpenAttempt& attempt);

// Whether the checkpoint can be opened; the reason where not.
Result<void> check_openable(const std::filesystem::path& prefix, bool follow_links);

// The same in a directory that is open; `prefix` is for messages.
Result<void> check_openable_in(const os::Directory& directory, const std::string& base,
                               const std::filesystem::path& prefix);

// An open shard, and by what it is recognised again.
struct OpenShard {
  os::File file;
  format::FileIdentity identity;
};
Result<OpenShard> open_shard(const os::Directory& directory, const std::string& name,
                             bool follow_links);

// What the one file of a location says (Kind::File). Not `whole`: tensors may lie behind its end.
struct FileIndex;
Result<FileIndex> read_file(const Location& location, bool whole);

// Of how many shards their names speak: of as many as the header counts, except where TensorFlow's
// merge met a bundle without a tensor. It counts that one's shard in the header, and then numbers
// those only that own a tensor, so that TensorFlow itself looks for names that nobody has.
std::uint32_t named_shard_count(const Location& location, const std::set<std::uint32_t>& numbers,
                                std::uint32_t header_count);

// What the user names may hold any character, and so may what is called after it; a name that comes
// from a file alone must not steer the terminal that shows it.
Result<void> check_shard_names(const format::IndexView& index, const Location& location,
                               const std::string& path);

// The spans of a tensor, however many it has.
template <class Visit>
void for_each_span(format::TensorFacts& tensor, Visit visit) {
  if (tensor.slices.empty()) visit(tensor.span);
  for (format::SliceFacts& slice : tensor.slices) visit(slice.span);
}

// The error that a DecodeError becomes: "FILE: byte N: …".
Error error_of(const std::string& path, const format::DecodeError& reason);

// Parts over an index that was built in memory. Corrupt: the facts break a rule.
struct IndexSource {
  Format format{};
  std::filesystem::path prefix;
  std::string index_path;  // for messages
};
Result<Parts> assemble(const IndexSource& what, const format::IndexFacts& facts,
                       std::vector<os::File> shards);

}  // namespace cairn::internal
