#pragma once

// One checkpoint's facts out of several: which shards it has, and which tensors in them. Nothing is
// written here.

#include <filesystem>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "format/facts.h"
#include "lib/open/load.h"
#include "lib/os/file.h"

namespace cairn::internal {

struct MergeInput {
  std::filesystem::path path;  // as the caller said it
  Found found;
};

// Where a source lay, and what it was then.
struct SeenSource {
  Location location;
  IndexIdentities indexes;
};

struct Composed {
  format::IndexFacts facts;     // of shards that have no names yet
  std::vector<os::File> files;  // parallel to facts.shards
  // Parallel: the shard was touched behind its P.cairn. It keeps the identity that was recorded
  // there, so that its tensors are checked before use in the new checkpoint as in the old one.
  std::vector<bool> doubtful;
  // A file is external data of an ONNX model: the onnx package refuses to read it once it has
  // another name.
  bool no_hard_links = false;
  std::vector<std::string> warnings;
  std::vector<SeenSource> seen;
};

// Of one source everything is kept; for several the rules of cairn::merge hold.
Result<Composed> compose(std::vector<MergeInput> sources);

}  // namespace cairn::internal
