#include "lib/open/shard_bytes.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "lib/open/assemble.h"

namespace cairn::internal {

namespace {

template <class Visit>
void for_each_span_of(format::IndexFacts& facts, Visit visit) {
  for (format::TensorFacts& tensor : facts.tensors) for_each_span(tensor, visit);
}

template <class Visit>
void for_each_span_of(format::PlainTensors& tensors, Visit visit) {
  for (format::TensorRecord& tensor : tensors.records()) visit(tensor);
}

void forget_sum(format::Span& span) noexcept { span.crc32c = std::nullopt; }
void forget_sum(format::TensorRecord& tensor) noexcept { tensor.crc32c = tensor.flags = 0; }

template <class Tensors>
void count(std::vector<format::ShardFacts>& shards, Tensors& tensors) {
  using Ranges = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
  std::vector<Ranges> ranges_of(shards.size());
  for_each_span_of(tensors, [&](const auto& span) {
    if (span.size_bytes == 0 || span.shard >= ranges_of.size()) return;
    ranges_of[span.shard].emplace_back(span.offset_bytes, span.offset_bytes + span.size_bytes);
  });
  for (std::size_t i = 0; i < ranges_of.size(); ++i) {
    format::ShardFacts& shard = shards[i];
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
  for_each_span_of(tensors, [&](auto& span) {
    if (span.size_bytes != 0) return;
    span.shard = 0;
    span.offset_bytes = shards.front().head_bytes;
    forget_sum(span);
  });
}

}  // namespace

void count_shard_bytes(format::IndexFacts& facts) { count(facts.shards, facts); }

void count_shard_bytes(std::vector<format::ShardFacts>& shards, format::PlainTensors& plain) {
  count(shards, plain);
}

}  // namespace cairn::internal
