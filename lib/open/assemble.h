#pragma once

// What the openers of all formats share: opening a shard, the text of an error, and building
// Cairn's index in memory from facts.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/cairn/index.h"
#include "format/facts.h"
#include "format/read_at.h"
#include "lib/open/locate.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// An open shard, and the identity by which it is recognised again.
struct OpenShard {
  os::File file;
  format::FileIdentity identity;
};
Result<OpenShard> open_shard(const os::Directory& directory, const std::string& name,
                             bool follow_links);

// Whether the file lies in the same directory, or in a folder below it.
enum class Where : std::uint8_t { Here, HereOrBelow };

// The same for a file that another file, `path`, names. Unsafe: the name contains another directory
// or control characters, or a folder is a link.
Result<OpenShard> open_named_shard(const Location& location, const std::string& name,
                                   const std::string& path, Where where = Where::Here);

// The function by which a decoder reads the file. The file must outlive it.
format::ReadAt reads_of(const os::File& file);

// Unsafe: a shard name has control characters that the prefix does not have. A name that the user
// gave may contain any character; a name from a file must not control the terminal that shows it.
Result<void> check_shard_names(const format::IndexView& index, const Location& location,
                               const std::string& path);

// Visits all spans of a tensor.
template <class Visit>
void for_each_span(format::TensorFacts& tensor, Visit visit) {
  if (tensor.slices.empty()) visit(tensor.span);
  for (format::SliceFacts& slice : tensor.slices) visit(slice.span);
}

// The error that a DecodeError becomes: "FILE: byte N: …".
Error error_of(const std::string& path, const format::DecodeError& reason);

// Builds Cairn's index in memory from the facts, and returns the parts over it. `plain`: the
// tensors, if facts.tensors is empty. Errors: Corrupt (the facts break a rule of the index).
struct IndexSource {
  Format format{};
  std::filesystem::path prefix;
  std::string index_path;  // for messages
};
Result<Parts> assemble(const IndexSource& what, const format::IndexFacts& facts,
                       std::vector<os::File> shards,
                       std::optional<format::PlainTensors> plain = {});

}  // namespace cairn::internal
