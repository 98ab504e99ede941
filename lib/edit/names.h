#pragma once

// Which tensor gets which name: rules over an index, nothing is written here.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cairn/edit.h"
#include "format/cairn/index.h"
#include "format/facts.h"

namespace cairn::internal {

// What changes, in the order of the old names. Errors: those of cairn::name_changes.
Result<std::vector<NameChange>> changes_of(const std::filesystem::path& path,
                                           const format::IndexView& index,
                                           const Renaming& renaming);

// Some tensors of an index, by their positions, and what they are called by now.
struct NamesRequest {
  const std::filesystem::path& path;  // for messages
  const format::IndexView& index;
  std::span<const std::size_t> positions;  // ascending
  std::vector<std::string> names;
  bool graph_is_kept = true;  // an object graph is kept if it is among them
};

// Their new names. Unlike changes_of(), it may be that none changes. Errors: those of
// cairn::name_changes, in the words of the index.
Result<std::vector<std::string>> new_names(NamesRequest request, const Renaming& renaming);

// Gives the tensors their new names. Shards whose safetensors header says an old one are no longer
// safetensors files that tell the truth, and are not called so any more.
void apply(std::span<const NameChange> changes, format::IndexFacts& facts);

}  // namespace cairn::internal
