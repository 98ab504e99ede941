#include "lib/saver/history.h"

#include <cmath>
#include <utility>

#include "lib/open/catalog.h"
#include "lib/open/v1.h"
#include "lib/read/names.h"
#include "lib/saver/catalog_file.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr double kNanosecond = 1e-9;

// What its files' times say, where nothing else does.
Result<double> file_time_s(const Place& place, const std::string& base) {
  for (const std::string_view suffix : {kTensorFlowSuffix, kCairnSuffix}) {
    CAIRN_TRY(info, place.directory.look(base + std::string(suffix)));
    if (info) return static_cast<double>(info->mtime_ns) * kNanosecond;
  }
  const auto v1 = find_v1(place.directory, base);
  if (!v1 || !*v1) return 0;
  CAIRN_TRY(info, place.directory.look((*v1)->names.front()));
  return info ? static_cast<double>(info->mtime_ns) * kNanosecond : 0;
}

// P.cairn. Neither: there is none.
struct Own {
  std::optional<OwnIndex> index;
  std::string unread;  // why it cannot be read
};

Result<Own> own_index(const Place& place, const std::string& base) {
  const std::string name = base + std::string(kCairnSuffix);
  CAIRN_TRY(there, place.directory.look(name));
  if (!there) return Own();
  CAIRN_TRY(twin, place.directory.duplicate());
  CAIRN_TRY(location, locate_in(std::move(twin), base, place.dir / base));
  location.links = links_of(place.follow_links);
  auto own = load_own_index(location);
  if (own) return Own{*std::move(own), {}};
  if (may_pass(own.error())) return std::move(own).error();
  // What a link leads to elsewhere is another's, and so is the pin.
  if (there->kind == os::FileKind::Link && own.error().code == Code::Unsafe) return Own();
  CAIRN_TRY(still, place.directory.look(name));
  if (!still) return Own();
  return Own{{}, "it may be pinned: " + own.error().what};
}

// Not one that was imported: its index is younger than it.
bool saved_by_cairn(const format::IndexView& index) {
  return index.created_ns() != 0 && index.shard_count() > 0 &&
         (index.shard(0).kind == format::ShardKind::Universal ||
          index.shard(0).kind == format::ShardKind::Headerless);
}

// The base in this directory that an entry means; empty: it lies elsewhere. Nothing: it is gone.
Result<std::optional<std::string>> base_of(const Place& place, const std::filesystem::path& path) {
  auto entry = resolve_entry(place, path, place.follow_links);
  if (!entry && entry.error().code != Code::Unsafe) return std::move(entry).error();
  const std::filesystem::path& prefix = entry ? entry->prefix : path;
  if (!checkpoint_exists(place, prefix)) return std::optional<std::string>();
  return std::optional(entry ? entry->base : std::string());
}

// What lies elsewhere keeps the spelling that it came with.
std::string written_from(const std::filesystem::path& dir, const std::filesystem::path& path) {
  const std::filesystem::path from = from_directory(dir, path);
  return from.is_absolute() || from == path ? written_path(dir, path) : from.string();
}

// A checkpoint in this directory, its own index read once.
Result<HistoryEntry> look_at(const Place& place, const std::string& base) {
  HistoryEntry listed{place.dir / base, base, {}, {}};
  CheckpointFacts& known = listed.known;
  known.step = step_of(base);
  CAIRN_TRY(file_s, file_time_s(place, base));
  known.saved_s = file_s;
  CAIRN_TRY(read, own_index(place, base));
  known.unread = std::move(read.unread);
  const std::optional<OwnIndex>& own = read.index;
  if (!own) return listed;
  SaverMetadata metadata = saver_metadata(own->index);
  known.pinned = metadata.pinned;  // whatever was written under the name since
  if (!own->current) return listed;
  if (own->index.step()) known.step = own->index.step();
  if (saved_by_cairn(own->index))
    known.saved_s = static_cast<double>(own->index.created_ns()) * kNanosecond;
  if (metadata.saved_s) known.saved_s = *metadata.saved_s;
  known.metrics = std::move(metadata.metrics);
  listed.grid = metadata.grid;
  return listed;
}

}  // namespace

Result<CheckpointFacts> checkpoint_facts(const Place& place, const std::string& base) {
  return look_at(place, base).transform([](HistoryEntry listed) {
    return std::move(listed.known);
  });
}

Result<Pin> pin_of(const Place& place, const std::string& base) {
  CAIRN_TRY(own, own_index(place, base));
  return Pin{own.index && saver_metadata(own.index->index).pinned, std::move(own.unread)};
}

Result<History> read_history(const Place& place) {
  OpenAttempt attempt;
  auto read = read_catalog(place, attempt);
  if (!read && read.error().code == Code::Corrupt) {
    Error error = std::move(read).error();
    error.what +=
        "; to make a new catalog from the files, use repair_catalog() (cairn state --repair)";
    return error;
  }
  CAIRN_TRY(state, std::move(read));
  History history;
  if (!state) return history;
  history.has_timestamps = !state->all_model_checkpoint_timestamps_s.empty();
  history.last_preserved_s = state->last_preserved_timestamp_s;
  for (const auto& [path, time] : listed_entries(*state)) {
    CAIRN_TRY(base, base_of(place, path));
    if (!base) continue;
    const auto before = std::ranges::find(history.listed, *base, &HistoryEntry::base);
    HistoryEntry listed{path, {}, {}, {}};
    if (!base->empty() && before != history.listed.end()) {
      listed = std::move(*before);
      history.listed.erase(before);
    } else if (!base->empty()) {
      CAIRN_TRY(read_anew, look_at(place, *base));
      listed = std::move(read_anew);
    }
    if (time && !std::isnan(*time)) listed.known.saved_s = *time;
    std::erase_if(history.listed, [&](const HistoryEntry& other) {
      return other.path == listed.path || (!base->empty() && other.base == *base);
    });
    history.listed.push_back(std::move(listed));
  }
  for (auto at = history.listed.rbegin(); at != history.listed.rend() && !history.grid; ++at)
    history.grid = at->grid;
  return history;
}

Result<void> write_history(const Place& place, const History& history) {
  if (history.listed.empty()) return {};
  format::tensorflow::StateFacts facts;
  for (const HistoryEntry& listed : history.listed) {
    facts.all_model_checkpoint_paths.push_back(
        listed.base.empty() ? written_from(place.dir, listed.path) : listed.base);
    if (history.has_timestamps)
      facts.all_model_checkpoint_timestamps.push_back(listed.known.saved_s);
  }
  facts.model_checkpoint_path = facts.all_model_checkpoint_paths.back();
  facts.last_preserved_timestamp = history.last_preserved_s;
  return publish_catalog(place.directory, place.latest_filename, facts);
}

}  // namespace cairn::internal
