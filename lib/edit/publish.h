#pragma once

// Indexes over shards that are there already: encoding TensorFlow's, and putting both in place,
// beside the shards or, with second names for the shards, elsewhere.

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "format/cairn/index.h"
#include "format/facts.h"
#include "lib/edit/transfer.h"
#include "lib/write/publisher.h"

namespace cairn::internal {

// P.index, and the tensors that it had to leave out.
struct BundleBytes {
  std::string bytes;
  std::vector<std::string> not_nameable;
};

// The P.index of the checkpoint `prefix`, whose shards' names begin with `base`. Unsupported:
// TensorFlow cannot find a shard by its name. Invalid: names that clash in TensorFlow's index.
struct BundleName {
  const std::string& base;
  const std::filesystem::path& prefix;  // for messages
};
Result<BundleBytes> encode_bundle(const BundleName& name, const format::IndexFacts& facts);

// Adds the indexes that are to be published, P.index first. `tensorflow_index` empty: no P.index is
// written, and what `own` says of one stays. `own` absent: no P.cairn is written.
Result<void> add_indexes(Publisher& publisher, std::optional<format::IndexFacts> own,
                         std::span<const std::byte> tensorflow_index);

// Adds P.cairn alone, with the tensors of an index that is_of_plain_tensors().
Result<void> add_own_index(Publisher& publisher, const format::IndexFacts& own,
                           const format::IndexView& tensors);

// What a copy or a move takes along besides, as it is.
struct Companions {
  bool tensorflow = true;                  // P.index too
  const os::File* index_file = nullptr;    // that has the bytes of `tensorflow_index`
  const os::File* graph = nullptr;         // P.meta
  std::optional<std::size_t> safetensors;  // the shard that is P.safetensors too
  bool independent = false;                // shares no file with where it comes from
  // Asked about the shards before anything is published. True: each byte was compared with its
  // sum.
  std::function<Result<bool>(std::span<const TempFile>)> check;
  // Takes the target's lock, where others are to be held with it; empty: it alone.
  std::function<Result<Lock>(const Target&)> hold;
};

// A checkpoint that comes to another place: its shards get second names there.
struct LinkedCheckpoint {
  format::IndexFacts facts;         // its shards have no names yet
  std::span<const os::File> files;  // parallel to facts.shards
  std::vector<bool> doubtful;       // parallel; empty: none. Keeps the recorded identity.
  bool no_hard_links = false;       // as in Composed
  bool over_same_bytes = false;     // an index of these files is put beside them
  bool own_index = true;            // P.cairn too
  // A P.index that can be taken as it is, where the shards get these names; else one is made.
  std::span<const std::byte> tensorflow_index;
  std::vector<std::string> names;
  std::function<Result<void>()> unchanged;  // asked under the lock; empty: nothing to ask

  std::optional<Companions> whole;
};

// Publishes there under the lock that `hold` takes, or where it is empty, under the target's alone.
Result<Publisher> begin_with(Target target, const TransferOptions& options,
                             const std::function<Result<Lock>(const Target&)>& hold);

// Makes a checkpoint of it under the destination. What stood there stands, whole, until then. Adds
// to `transfer`. Errors: Exists, without `replace`; Busy; those of encode_bundle; Io, NoSpace.
Result<void> publish_elsewhere(const Destination& to, LinkedCheckpoint linked,
                               const TransferOptions& options, Transfer& transfer);

}  // namespace cairn::internal
