#include "lib/live/page_release.h"

#include <algorithm>

#include "lib/os/page_cache.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {
namespace {

constexpr std::uint64_t kSliceBytes = 4u << 20;

}  // namespace

bool PageRelease::step(const std::function<bool(const SeenFile&)>& is_used) {
  if (ends_) generation_->model.reset();
  const Shards& shards = OpenCheckpoint::of(generation_->checkpoint).shards();
  // What could not be mapped is in memory that has no file behind it.
  if (shards.first_unmapped() || shard_ == shards.count()) return false;
  const std::span<const std::byte> memory = shards.memory(shard_);
  const std::uint64_t bytes = std::min(kSliceBytes, memory.size() - offset_bytes_);
  os::unmap_pages(memory.subspan(offset_bytes_, bytes));
  offset_bytes_ += bytes;
  if (offset_bytes_ < memory.size()) return true;
  if (!is_used(generation_->shards[shard_])) os::drop_from_cache(shards.file(shard_));
  ++shard_;
  offset_bytes_ = 0;
  return true;
}

}  // namespace cairn::internal
