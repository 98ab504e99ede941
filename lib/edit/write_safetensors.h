#pragma once

// Tensors as a safetensors file, or as a directory of several with an index.

#include <span>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "lib/edit/outgoing.h"
#include "lib/edit/stream.h"

namespace cairn::internal {

// What is written into files that have no index of Cairn's or TensorFlow's.
struct FileContents {
  const Checkpoint& checkpoint;
  std::span<const OutgoingTensor> tensors;  // sorted by name
};

// Their bytes; the counts of casts go to `transfer`.
StreamRequest request_for(const FileContents& contents, const TransferOptions& options,
                          Transfer& transfer);

// Exists: something is under `options.output` that would be replaced, or that loaders would read in
// place of what is written, without `replace`. With it, the latter is named in `warnings`.
Result<void> refuse_safetensors(const TransferOptions& options, std::vector<std::string>& warnings);

// Writes and publishes them as `options` say. Adds to `transfer`, whose prefix becomes the path of
// the file or directory. Errors: Corrupt (damage); Exists, Busy; Unsupported (a header would be too
// large); Io, NoSpace, Cancelled.
Result<void> write_safetensors(const FileContents& contents, const TransferOptions& options,
                               Transfer& transfer);

}  // namespace cairn::internal
