// TensorFlow's retention removes the files that it knows: P.index, P.meta and the shards. Where
// P.cairn stood beside them, it stays behind: a few kilobytes for each checkpoint, for ever, and a
// name that a reader takes for a checkpoint until it looks for the shards.
//
// To remove what was no leftover would lose a checkpoint, so it must be beyond doubt. A P.cairn
// that recorded a P.index goes when that and a shard are gone: somebody removed this checkpoint on
// purpose, perhaps not to the end. One that was the only index from the start goes when no shard is
// left; with some of them it is damage, and the only thing that still says which tensors they hold.

#include "lib/saver/orphan_indexes.h"

#include <algorithm>

#include "format/cairn/index.h"
#include "format/limits.h"
#include "lib/read/names.h"
#include "lib/write/lock.h"

namespace cairn::internal {
namespace {

bool is_orphan(const os::Directory& directory, const std::string& name) {
  const std::string base = name.substr(0, name.size() - kCairnSuffix.size());
  if (directory.exists(base + std::string(kTensorFlowSuffix))) return false;
  const auto file = directory.open_file(name, os::Links::Refuse);
  if (!file) return false;
  const auto bytes = os::read_whole(*file, format::limits::kIndexBytesMax);
  if (!bytes) return false;
  const auto index = format::IndexView::decode(*bytes);
  if (!index) return false;
  std::size_t missing = 0;
  for (std::size_t i = 0; i < index->shard_count(); ++i) {
    const auto there = directory.look(index->shard(i).name);
    if (!there) return false;
    if (!there->has_value()) ++missing;
  }
  return missing > 0 && (missing == index->shard_count() || index->tensorflow_index().present);
}

}  // namespace

std::vector<std::string> orphan_indexes(const os::Directory& directory,
                                        std::span<const std::string> names) {
  std::vector<std::string> orphans;
  for (const std::string& name : names) {
    if (!name.ends_with(kCairnSuffix)) continue;
    if (is_orphan(directory, name)) orphans.push_back(name);
  }
  std::ranges::sort(orphans);
  return orphans;
}

void remove_orphan_indexes(const os::Directory& directory, std::span<const std::string> names) {
  for (const std::string& name : orphan_indexes(directory, names)) {
    const std::string base = name.substr(0, name.size() - kCairnSuffix.size());
    const auto lock = Lock::of_prefix(directory, base, {std::chrono::milliseconds(0), {}});
    if (lock && is_orphan(directory, name)) (void)directory.remove(name);
  }
}

}  // namespace cairn::internal
