// TensorFlow's retention removes the files that it knows: P.index, P.meta and the shards. Where
// P.cairn stood beside them, it stays behind: a few kilobytes for each checkpoint, for ever, and a
// name that a reader takes for a checkpoint until it looks for the shards.
//
// To remove what was no leftover would lose a checkpoint, so it must be beyond doubt. With a shard
// that is there it is damage, and the only thing that still says which tensors that holds. Without
// any it may be the first file of a checkpoint that is just arriving: "mv" to another file system
// copies one file after the other, and rsync under other names. That takes hours at most, and the
// time of a file's last change (ctime) is that of its arrival, whoever made it. A pin and an entry
// of a catalog say that somebody misses it.

#include "lib/saver/orphan_indexes.h"

#include <algorithm>
#include <chrono>

#include "format/cairn/index.h"
#include "format/limits.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/saver/links_here.h"
#include "lib/saver/other_catalogs.h"
#include "lib/try.h"
#include "lib/write/lock.h"

namespace cairn::internal {
namespace {

constexpr double kYoungS = 24.0 * 3600;

std::string base_of(const std::string& name) {
  return name.substr(0, name.size() - kCairnSuffix.size());
}

// Whether the file, by its name, may be a shard of the base, whatever a transfer calls it
// meanwhile:
// ".m.data-00000-of-00001.Xa3f".
bool may_be_shard(std::string_view name, const std::string& base) {
  return name.find(base + ".data-") != std::string_view::npos ||
         name == base + std::string(kSafetensorsSuffix);
}

bool is_missing(const os::Directory& directory, std::string_view name) {
  const auto there = directory.look(name);
  return there && !*there;
}

bool is_orphan(const os::Directory& directory, std::span<const std::string> names,
               const std::string& name, double now_s) {
  const std::string base = base_of(name);
  if (!is_missing(directory, base + std::string(kTensorFlowSuffix))) return false;
  const auto opened = directory.open_seen(name, os::Links::Refuse);
  if (!opened) return false;
  // Of a time that is no number nothing is old.
  const double changed_s = static_cast<double>(opened->info.ctime_ns) * 1e-9;
  if (!(changed_s <= now_s - kYoungS)) return false;
  const auto bytes = os::read_whole(opened->file, format::limits::kIndexBytesMax);
  if (!bytes) return false;
  const auto index = format::IndexView::decode(*bytes);
  if (!index || index->shard_count() == 0 || index->metadata(format::kPinnedKey)) return false;
  for (std::size_t i = 0; i < index->shard_count(); ++i) {
    if (!is_missing(directory, index->shard(i).name)) return false;
  }
  return std::ranges::none_of(names, [&](const auto& other) { return may_be_shard(other, base); });
}

// Whether a catalog lists it, or a link leads to it, for all that anybody can say.
bool is_wanted(const Place& place, std::span<const std::string> names, const std::string& name) {
  const std::string base = base_of(name);
  const auto history = read_history(place);
  if (!history ||
      std::ranges::find(history->listed, base, &HistoryEntry::base) != history->listed.end())
    return true;
  const auto elsewhere = other_listings(place, names);
  if (elsewhere.may_list(base)) return true;
  const auto info = place.directory.look(name);
  const auto links = LinksHere::read(place, names, outside_of(*history, elsewhere));
  if (!info || !*info || !links) return true;
  const auto link = links->to({base, {{name, identity_of(**info)}}}, {base});
  return !link || link->has_value();
}

}  // namespace

std::vector<std::string> orphan_indexes(const os::Directory& directory,
                                        std::span<const std::string> names, double now_s) {
  std::vector<std::string> orphans;
  for (const std::string& name : names) {
    if (!name.ends_with(kCairnSuffix)) continue;
    if (is_orphan(directory, names, name, now_s)) orphans.push_back(name);
  }
  std::ranges::sort(orphans);
  return orphans;
}

std::vector<std::string> remove_orphan_indexes(const Place& place,
                                               std::span<const std::string> names, double now_s) {
  std::vector<std::string> went;
  for (const std::string& name : orphan_indexes(place.directory, names, now_s)) {
    if (is_wanted(place, names, name)) continue;
    const auto lock =
        Lock::of_prefix(place.directory, base_of(name), {std::chrono::milliseconds(0), {}});
    if (!lock || !is_orphan(place.directory, names, name, now_s)) continue;
    if (!place.directory.remove(name)) continue;
    went.push_back((place.dir / name).string() +
                   ": was removed, because it was the last file of a checkpoint: it had no shard, "
                   "no catalog lists it, and it was a day old");
  }
  return went;
}

Result<Recovery> recover_and_sweep(const Place& place, double now_s) {
  CAIRN_TRY(recovery, recover_from_journal(place));
  auto went = remove_orphan_indexes(place, recovery.names, now_s);
  std::ranges::move(went, std::back_inserter(recovery.warnings));
  return std::move(recovery);
}

}  // namespace cairn::internal
