#pragma once

// What a new checkpoint takes from an older one without writing it: shards, by another name each,
// and where its tensors lie in them.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/facts.h"
#include "lib/write/shard_writer.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {

struct LinkedShard {
  TempFile file;             // a hard link that waits for its name
  format::ShardFacts facts;  // without name, identity and live bytes
};

struct LinkedTensor {
  std::string name;
  std::size_t shard = 0;  // among the linked ones
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  Sums sums;
};

struct LinkedShards {
  std::vector<LinkedShard> shards;
  std::vector<LinkedTensor> tensors;
};

// Of a checkpoint's shard: its size, and the bytes of it that the new checkpoint would use.
struct ShardUse {
  std::uint64_t size_bytes = 0;
  std::uint64_t live_bytes = 0;
};

inline constexpr std::uint64_t kLinkedBytesMin = 1u << 20;
inline constexpr std::size_t kLinkedShardsMax = 62;  // of 64 that TensorFlow is to keep open

// Which of them are worth a link: those of which half at least is used, and kLinkedBytesMin; of too
// many, those that spare the most bytes. So no checkpoint keeps more than twice its bytes on the
// disk. What is used of the others is written again.
std::vector<bool> choose_linked(std::span<const ShardUse> shards);

}  // namespace cairn::internal
