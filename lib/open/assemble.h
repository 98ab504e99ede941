#pragma once

// What the openers of every format share: how a shard is opened, what an error says, and the parts
// of a checkpoint whose index is built in memory.

#include <filesystem>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/cairn/index.h"
#include "format/facts.h"
#include "format/read_at.h"
#include "lib/open/locate.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// An open shard, and by what it is recognised again.
struct OpenShard {
  os::File file;
  format::FileIdentity identity;
};
Result<OpenShard> open_shard(const os::Directory& directory, const std::string& name,
                             bool follow_links);

// The same of a file that lies beside another one, `path`, which names it. Unsafe: its name has a
// directory or control characters in it.
Result<OpenShard> open_named_shard(const Location& location, const std::string& name,
                                   const std::string& path);

// How a decoder reads the shard, which must outlive the answer.
format::ReadAt reads_of(const OpenShard& shard);

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
