#include "lib/open/shard_bytes.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/open/assemble.h"

namespace cairn::internal {

void count_shard_bytes(format::IndexFacts& facts) {
  using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
  std::vector<Ranges> ranges_of(facts.shards.size());
  for (format::TensorFacts& tensor : facts.tensors) {
    for_each_span(tensor, [&](const format::Span& span) {
      if (span.size_bytes == 0 || span.shard >= ranges_of.size()) return;
      ranges_of[span.shard].emplace_back(span.offset_bytes, span.offset_bytes + span.size_bytes);
    });
  }
  for (std::size_t i = 0; i < ranges_of.size(); ++i) {
    format::ShardFacts& shard = facts.shards[i];
    std::ranges::sort(ranges_of[i]);
    shard.head_bytes =
        ranges_of[i].empty() ? shard.identity.size_bytes : ranges_of[i].front().first;
    shard.live_bytes = 0;
    std::uint64_t end = 0;
    for (const auto& [first, last] : ranges_of[i]) {
      shard.live_bytes += last > end ? last - std::max(first, end) : 0;
      end = std::max(end, last);
    }
  }
  for (format::TensorFacts& tensor : facts.tensors) {
    for_each_span(tensor, [&](format::Span& span) {
      if (span.size_bytes == 0) span = {0, facts.shards.front().head_bytes, 0, std::nullopt};
    });
  }
}

}  // namespace cairn::internal
