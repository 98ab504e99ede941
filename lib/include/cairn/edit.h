#pragma once

// New indexes over old shards: merge several checkpoints into one, and rename tensors.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cairn/convert.h"
#include "cairn/error.h"
#include "cairn/export.h"
#include "cairn/renaming.h"

namespace cairn {

// Merges several checkpoints into one, under `options.output`, which is required. The result is
// P.cairn and P.index over the shards of the sources; the shards get second names, by the method
// `options.link`. A source is any checkpoint that Checkpoint::open opens, or a part that TensorFlow
// has not merged (P_temp/part-00000-of-00002). Sources do not change. The result is durable when
// the call returns; until then nothing is under `output`, or, with `replace`, the old checkpoint is
// there, whole.
//
// - A name may be in one source only. Exception: a partitioned tensor with the same dtype and shape
//   in all sources that have it. Its slices are put together. They must not overlap; if they leave
//   gaps, a warning says so.
// - The step is kept if all sources have the same one. A metadata key is kept if the sources agree
//   on its value. Metadata of the Saver (a pin, a metric) is not kept.
// - Tensors that TensorFlow cannot hold are not in P.index.
//
// Errors: those of Checkpoint::open; Exists (a name is in two sources; there is a checkpoint under
// `output`, without `replace`); Invalid (slices that overlap or belong to different tensors; no
// source); Unsupported (different byte orders); Io, NoSpace, Cancelled. Cost: O(tensors). No tensor
// byte is read, unless a source has no checksums (safetensors): then they are computed.
CAIRN_API Result<Transfer> merge(std::span<const std::filesystem::path> sources,
                                 const TransferOptions& options) noexcept;

// Returns what rename_tensors would change, in the order of the old names. Reads the index only.
//
// Errors: those of Checkpoint::open; NotFound (no tensor of that name, the message lists similar
// names; or no tensor matches a pattern or has the prefix); Exists (two tensors would get one
// name); Invalid (a name is given twice; a new name is empty or too long; a pattern is no regular
// expression, or its replacement refers to a group that it does not have; nothing to rename);
// Unsupported (TensorFlow's object graph refers to the name; a pattern with look-around or
// back-references). Cost: linear in the names, for each pattern.
CAIRN_API Result<std::vector<NameChange>> name_changes(const std::filesystem::path& path,
                                                       const Renaming& renaming,
                                                       bool follow_links = false) noexcept;

struct Renamed {
  Transfer transfer;
  std::vector<NameChange> names;  // the answer of name_changes
};

// Renames tensors. Without `options.output` the existing indexes, P.index and P.cairn, are
// replaced; `options.replace` must be true for that. With an output the result is that of a merge
// of one source. The change is durable when the call returns; until then the checkpoint has either
// all old names or all new names. Errors: those of name_changes and merge; Unsupported (a
// safetensors file contains its names, and therefore needs an output). Cost: that of merge.
CAIRN_API Result<Renamed> rename_tensors(const std::filesystem::path& path,
                                         const Renaming& renaming,
                                         const TransferOptions& options) noexcept;

}  // namespace cairn
