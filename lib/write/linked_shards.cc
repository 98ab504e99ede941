#include "lib/write/linked_shards.h"

#include <algorithm>

namespace cairn::internal {

std::vector<bool> choose_linked(std::span<const ShardUse> shards) {
  std::vector<std::size_t> worth;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const ShardUse& use = shards[i];
    if (use.live_bytes >= kLinkedBytesMin && use.live_bytes >= use.size_bytes - use.live_bytes)
      worth.push_back(i);
  }
  if (worth.size() > kLinkedShardsMax) {
    std::ranges::sort(worth, [&](std::size_t a, std::size_t b) {
      return shards[a].live_bytes != shards[b].live_bytes
                 ? shards[a].live_bytes > shards[b].live_bytes
                 : a < b;
    });
    worth.resize(kLinkedShardsMax);
  }
  std::vector<bool> linked(shards.size());
  for (const std::size_t i : worth) linked[i] = true;
  return linked;
}

}  // namespace cairn::internal
