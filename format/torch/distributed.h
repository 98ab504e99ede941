#pragma once

// The metadata of a distributed checkpoint of PyTorch (torch.distributed.checkpoint): a pickle that
// says which tensors there are, of which chunks, and which part of which file has each of them.
// FORMAT.md, "Distributed checkpoints of PyTorch".

#include <cstdint>
#include <string>
#include <vector>

#include "format/decode_error.h"
#include "format/pickle/machine.h"
#include "format/torch/dtypes.h"

namespace cairn::format::torch {

// A part of a file: what torch.save wrote of a chunk or of a value.
struct Item {
  std::uint32_t file = 0;  // a position among the files
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
};

// Neither empty nor outside of its tensor.
struct Chunk {
  std::vector<std::int64_t> offsets;  // one per dimension
  std::vector<std::int64_t> sizes;
  Item item;
};

struct ChunkedTensor {
  std::string name;
  const TorchDtype* dtype = nullptr;
  std::vector<std::int64_t> shape;
  std::vector<Chunk> chunks;  // in stored order; each place once
};

// Something that is no tensor.
struct SavedValue {
  std::string name;
  Item item;
};

struct Distributed {
  std::vector<std::string> files;      // sorted; whatever the pickle says
  std::vector<ChunkedTensor> tensors;  // sorted by name
  std::vector<SavedValue> values;      // sorted by name
  std::vector<std::string> left_out;   // sentences without a full stop
};

// What the pickle says. Where it is not to be `whole`, a tensor that is broken is left out. Errors:
// Unsupported: the pickle is something else, or a limit of limits.h; Corrupt: a chunk that is
// stored nowhere, or lies outside of its tensor. Whether chunks overlap or leave gaps is not
// compared. Cost: memory of at most 64 times the pickle's bytes, or 256 KiB.
struct DistributedOptions {
  bool whole = true;
  std::uint64_t pickle_bytes = 0;
};
Decoded<Distributed> decode_distributed(const pickle::Pickle& pickle,
                                        const DistributedOptions& options);

}  // namespace cairn::format::torch
