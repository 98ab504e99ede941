#pragma once

// The fields of shards that follow from the places of their tensors.

#include "format/facts.h"

namespace cairn::internal {

// Sets, for each shard that is in the facts, the bytes in front of its first tensor, and how many
// are tensors' (those that tensors share count once). Puts tensors without bytes at the first
// shard's first tensor.
void count_shard_bytes(format::IndexFacts& facts);

}  // namespace cairn::internal
