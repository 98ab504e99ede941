#pragma once

// What import and export share: giving shards a second name, and publishing indexes over shards
// that are not ours.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/convert.h"
#include "format/cairn/index.h"
#include "lib/compat/locate.h"
#include "lib/os/file.h"
#include "lib/store/draft.h"

namespace cairn::compat {

// Where a result goes: an open directory and the base of its names.
struct Destination {
  os::Directory directory;
  std::string base;
  std::filesystem::path prefix;
  bool beside = false;  // the payload's own directory and base
};

Result<Destination> destination_of(const Location& source, const TransferOptions& options);

// The names of the shards with another base: their numbers stay.
std::vector<std::string> names_under(const std::string& from, const std::string& to,
                                     const format::IndexView& index);

// Gives each shard the name `names[i]` in the destination as `link` says, synced, the directory
// too. A name that is that very file already is fine; another file there is Exists. Adds to
// `transfer`.
Result<void> bring_shards(std::span<const os::File> shards, std::span<const std::string> names,
                          const Destination& to, const TransferOptions& options,
                          Transfer& transfer);

// Makes the bytes of foreign shards durable: nobody else has. TensorFlow calls no fsync.
Result<void> sync_payload(std::span<const os::File> shards, const os::Directory& directory);

// An index file to be put in place.
struct IndexFile {
  std::string name;
  std::span<const std::byte> bytes;
};

// Whether the file is there with these bytes. Exists: it is there with others, or another index
// makes the name a checkpoint's already, and `replace` is not said.
Result<bool> already_there(const Destination& to, const IndexFile& index, bool replace);

// Where `prefix` holds the variables of a SavedModel whose fingerprint.pb has a hash of P.index: a
// notice that P.index was written anew.
void tell_of_fingerprint(const std::filesystem::path& prefix, Transfer& transfer);

}  // namespace cairn::compat
