#pragma once

// Indexes over shards that are there already: encoding TensorFlow's, and putting both in place.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "format/facts.h"
#include "lib/compat/transfer.h"

namespace cairn::compat {

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

// Where the indexes go once the shards are durable: both are written and synced before either has
// its name, P.index first. `tensorflow_index` empty: no P.index is written, and what `own` says of
// one stays. `own` absent: no P.cairn is written.
Result<void> publish(const Destination& to, std::optional<format::IndexFacts> own,
                     std::span<const std::byte> tensorflow_index);

}  // namespace cairn::compat
