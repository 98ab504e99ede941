#pragma once

// The fields of shards that follow from the places of their tensors.

#include <vector>

#include "format/facts.h"
#include "format/plain_tensors.h"

namespace cairn::internal {

// Sets, for each shard that is in the facts, the bytes in front of its first tensor, and how many
// are tensors' (those that tensors share count once). Puts tensors without bytes at the first
// shard's first tensor.
void count_shard_bytes(format::IndexFacts& facts);
void count_shard_bytes(std::vector<format::ShardFacts>& shards, format::PlainTensors& plain);

}  // namespace cairn::internal
