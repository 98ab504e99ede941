#pragma once

// New indexes over old shards: several checkpoints as one, and tensors under other names.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cairn/convert.h"
#include "cairn/error.h"
#include "cairn/export.h"

namespace cairn {

// Makes one checkpoint of several, under `options.output`, which is required: P.cairn and P.index
// over the sources' shards, which get second names there as `options.link` says. A source is
// whatever Checkpoint::open takes, and is never changed; so is a part that TensorFlow left unmerged
// (P_temp/part-00000-of-00002). No tensor byte is read, but where a source has no checksums
// (safetensors): then they are computed.
//
// A name stands in one source, or is a partitioned tensor of one dtype and shape in all that have
// it: then its slices are put together, which may leave gaps (a warning says so) but must not
// overlap. The step is kept where all sources say the same, metadata where no two differ; the
// Saver's own is not taken along. Tensors that TensorFlow cannot name stay out of P.index.
//
// Errors: those of Checkpoint::open; Exists (a name is in two sources; `output` is a checkpoint
// already, without `replace`); Invalid (slices of different tensors, or that overlap; no source);
// Unsupported (different byte orders); Io, NoSpace, Cancelled. Durable when it returns: until then
// nothing is under `output`, or with `replace` what was there, whole. Cost: O(tensors).
CAIRN_API Result<Transfer> merge(std::span<const std::filesystem::path> sources,
                                 const TransferOptions& options) noexcept;

struct NameChange {
  std::string from;
  std::string to;
};

// Which tensors get which names: those in `names` as they say, the others as the patterns say.
struct Renaming {
  std::vector<NameChange> names;
  // Regular expressions in RE2's syntax, without look-around and back-references, one after the
  // other: each match in a name is replaced, where $1 is the first group, $& the match, $$ a
  // dollar. Names are matched as UTF-8; a name that is not UTF-8 is matched byte by byte.
  std::vector<NameChange> patterns;
};

// What rename_tensors would change, in the order of the old names. Reads the index alone. Errors:
// those of Checkpoint::open; NotFound (no tensor of that name, with the nearest; a pattern that
// matches none); Exists (two tensors would have one name); Invalid (a name given twice, an empty
// new one, a new name that is too long, no regular expression, a group that it does not have,
// nothing to rename); Unsupported (a name that TensorFlow's object graph refers to; a pattern with
// look-around or back-references). Cost: linear in the names, for each pattern.
CAIRN_API Result<std::vector<NameChange>> name_changes(const std::filesystem::path& path,
                                                       const Renaming& renaming,
                                                       bool follow_links = false) noexcept;

struct Renamed {
  Transfer transfer;
  std::vector<NameChange> names;  // as name_changes says
};

// Gives tensors other names. Without `options.output` the indexes that are there, P.index and
// P.cairn, are replaced, which `options.replace` must say; with it, the result is as a merge of one
// source. No tensor byte is read or moved, but as merge says. Errors: those of name_changes and of
// merge; Unsupported (a safetensors file has its names in itself: it needs an output). Durable when
// it returns; at each moment before, the checkpoint has all its old names or all its new ones.
CAIRN_API Result<Renamed> rename_tensors(const std::filesystem::path& path,
                                         const Renaming& renaming,
                                         const TransferOptions& options) noexcept;

}  // namespace cairn
