#pragma once

// How a checkpoint is opened.

#include <cstdint>
#include <optional>
#include <span>

#include "cairn/dtype.h"
#include "cairn/events.h"
#include "cairn/exec_options.h"
#include "cairn/format_options.h"
#include "cairn/tensor.h"

namespace cairn {

// How the tensors' bytes come into this process.
enum class Access : std::uint8_t {
  Shared,   // mapped read-only. All processes share one copy; a page is read when it is touched. If
            // the file system has no mmap, each tensor is read on its first use, and a warning says
            // so
  Private,  // mapped copy-on-write. A page becomes this process's own when it is written. This is
            // no snapshot: other pages show later changes of the file, and if the file is
            // truncated, even written pages are lost
  Copy,     // read into this process's memory before open returns. It never faults later
};

// When the tensors' bytes are compared with their checksums. The index is always checked whole.
enum class Verify : std::uint8_t {
  Lazy,  // each tensor once, on its first use
  Full,  // all tensors on all cores, before open returns. Tensors without a stored checksum (those
         // of a safetensors file) are not read; Verification::unchecked_bytes counts their bytes
  None,  // never. Exception: if a shard has changed after its index was written, its tensors are
         // checked lazily, and Checkpoint::warnings says so
};

struct OpenOptions {
  Access access = Access::Shared;
  Verify verify = Verify::Lazy;
  // True: files may be symbolic links to any place, and the paths of a catalog may lead to any
  // directory. False: an index, a shard or a checkpoint file may be a link only if it stays below
  // its directory, or if it is a link of a Hugging Face cache to its blobs.
  bool follow_links = false;
  // If not empty: the checkpoint must have exactly these tensors. Else open returns Invalid, and
  // the message says what differs.
  std::span<const TensorSpec> expected = {};
  // The checkpoint must have this Checkpoint::digest(), else open returns Invalid. With it a
  // program opens the model that it was tested with, and no other.
  std::optional<Digest128> expected_digest = {};
  FormatOptions formats = {};
  ExecOptions exec = {};  // for Verify::Full and Access::Copy
  // True: read the index and open no shard, so that a checkpoint can be listed where its shards are
  // not, for example before they are downloaded. Everything that the index says is there: names,
  // dtypes, shapes, places, checksums, metadata, digest(). Each call that needs bytes of tensors
  // returns Unsupported. What only the shards could tell is not known: P.index does not record how
  // long its shards are, so Shard::size_bytes is where the last tensor ends; and no warning says
  // that a shard was changed. A file that is its own index (.safetensors, .gguf and so on) must be
  // there and whole, and so must the other files of its model; they are closed again. Needs
  // Access::Shared and Verify::Lazy or None, else open returns Invalid. V1 checkpoints hold their
  // values in the index: Unsupported.
  bool index_only = false;
  // What happens with the checkpoint, for a log and for counters (events.h). May be empty.
  EventListener on_event = {};
};

}  // namespace cairn
