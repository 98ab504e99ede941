#pragma once

// Tensors as numpy's files: an archive of all of them (.npz), or one (.npy).

#include <vector>

#include "cairn/convert.h"
#include "lib/edit/fit.h"
#include "lib/edit/write_safetensors.h"

namespace cairn::internal {

// Takes those away that numpy would mistake: asked for "a.npy", it gives the array of the tensor
// "a", whose member has that name.
void leave_out_mistaken(std::vector<OutgoingTensor>& tensors, LossyItems& lossy);

// Writes and publishes them under `options.output`. Adds to `transfer`, whose prefix becomes the
// path of the file. Errors: Corrupt (damage); Exists, Busy; Unsupported (more members than an
// archive that Cairn reads); Io, NoSpace, Cancelled.
Result<void> write_npz(const FileContents& contents, const TransferOptions& options,
                       Transfer& transfer);

// The same of the one tensor.
Result<void> write_npy(const FileContents& contents, const TransferOptions& options,
                       Transfer& transfer);

}  // namespace cairn::internal
