#include "lib/open/catalog.h"

#include <algorithm>

#include "format/le.h"
#include "format/limits.h"
#include "format/tensorflow/state_text.h"
#include "lib/open/assemble.h"
#include "lib/open/load.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// What cannot be looked at is there: to open it says why it cannot.
bool file_exists(const Place& place, const std::filesystem::path& from) {
  const auto there = place.directory.look_from(from, os::Links::Follow);
  return !there || there->has_value();
}

bool is_link(const Place& place, const std::filesystem::path& from) {
  const auto there = place.directory.look_from(from, os::Links::Refuse);
  return there && *there && (*there)->kind == os::FileKind::Link;
}

// Whether it holds for one of the files that a reader of the prefix may begin with. `from`: the
// prefix, from the directory.
bool any_first_file(const Place& place, const std::filesystem::path& from,
                    bool (*holds)(const Place&, const std::filesystem::path&)) {
  const std::string text = from.string();
  return holds(place, text + std::string(kTensorFlowSuffix)) ||
         holds(place, text + std::string(kCairnSuffix)) || holds(place, from);
}

// Whether one of the files is there that a catalog lists as "m-?????-of-00003".
bool v1_files_exist(const Place& place, const std::string& base) {
  const auto all = v1_name(base);
  if (!all || all->shard) return false;
  const auto names = place.directory.names();
  return names && std::ranges::any_of(*names, [&](const std::string& name) {
           const auto one = v1_name(name);
           return one && one->shard && one->base == all->base && one->count == all->count;
         });
}

// Whether the directory at this path is the catalog's own, however it is spelt.
Result<bool> is_own_directory(const Place& place, const std::filesystem::path& from) {
  if (from.empty() || from == ".") return true;
  CAIRN_TRY(own, place.directory.info());
  CAIRN_TRY(there, place.directory.look_from(from, os::Links::Follow));
  return there && same_file(*there, own);
}

// Whether a symbolic link stands there that leads out of its directory.
bool leads_out(const Place& place, const std::filesystem::path& from) {
  if (!is_link(place, from)) return false;
  const auto open_in = [&](const os::Directory& directory) {
    return directory.open_file(from.filename().native(), os::Links::Inside);
  };
  const auto own = is_own_directory(place, from.parent_path());
  const auto opened = own && *own
                          ? open_in(place.directory)
                          : os::Directory::open(place.dir / from.parent_path()).and_then(open_in);
  return !opened && opened.error().code == Code::Unsafe;
}

// Whether a relative path goes down through directories alone, no link among them.
bool lies_below(const Place& place, const std::filesystem::path& from) {
  if (from.empty() || from.is_absolute()) return false;
  std::filesystem::path down;
  for (const auto& part : from) {
    down /= part;
    if (part == "..") return false;
    const auto there = place.directory.look_from(down, os::Links::Refuse);
    if (!there || !*there || (*there)->kind != os::FileKind::Directory) return false;
  }
  return true;
}

// The last part of an entry, which may come from Windows: "C:\\models\\m-1", ".\\m-1".
std::string last_part(const std::filesystem::path& entry) {
  const std::string name = entry.filename().string();
  return name.substr(name.rfind('\\') + 1);
}

std::string catalog_path(const Place& place) {
  return (place.dir / place.latest_filename).string();
}

ListedCheckpoint look_at(const Place& place, const std::filesystem::path& path, bool follow_links) {
  const auto entry = resolve_entry(place, path, follow_links);
  const Result<void> whole = entry ? check_openable(entry->prefix, follow_links) : entry.error();
  if (whole) return {path, entry->prefix, {}};
  return {path, std::nullopt, whole.error().what};
}

LatestWhole newest_whole_of(const Place& place, const CheckpointState& state, bool follow_links) {
  std::vector<std::filesystem::path> newest_first(state.all_model_checkpoint_paths.rbegin(),
                                                  state.all_model_checkpoint_paths.rend());
  std::erase(newest_first, state.model_checkpoint_path);
  newest_first.insert(newest_first.begin(), state.model_checkpoint_path);
  LatestWhole found;
  for (const std::filesystem::path& path : newest_first) {
    ListedCheckpoint looked = look_at(place, path, follow_links);
    found.prefix = std::move(looked.opens_as);
    if (found.prefix) break;
    found.skipped.push_back({path, std::move(looked.why)});
  }
  return found;
}

struct Catalog {
  const std::filesystem::path& dir;
  std::string_view file_name;
};

// What `look` finds by the catalog of `dir`; where there is none, nothing.
template <class Found, class Look>
Result<Found> by_catalog(const Catalog& catalog, OpenAttempt& attempt, Look look) {
  auto directory = os::Directory::open(catalog.dir);
  if (!directory && directory.error().code == Code::NotFound) return Found();
  if (!directory) return std::move(directory).error();
  const Place place{catalog.dir, *directory, catalog.file_name};
  CAIRN_TRY(state, read_catalog(place, attempt));
  return state ? look(place, *state) : Found();
}

}  // namespace

Result<std::optional<CheckpointState>> read_catalog(const std::filesystem::path& dir,
                                                    std::string_view file_name,
                                                    OpenAttempt& attempt) {
  auto directory = os::Directory::open(dir);
  if (!directory && directory.error().code == Code::NotFound)
    return std::optional<CheckpointState>();
  if (!directory) return std::move(directory).error();
  return read_catalog({dir, *directory, file_name}, attempt);
}

std::vector<ListedEntry> listed_entries(const CheckpointState& state) {
  const auto& paths = state.all_model_checkpoint_paths;
  const auto& times = state.all_model_checkpoint_timestamps_s;
  const bool timed = times.size() == paths.size();
  ListedEntry latest{state.model_checkpoint_path, std::nullopt};
  std::vector<ListedEntry> entries;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const auto time_s = timed ? std::optional(times[i]) : std::nullopt;
    if (paths[i] == latest.path) {
      latest.time_s = time_s;
    } else {
      entries.push_back({paths[i], time_s});
    }
  }
  entries.push_back(std::move(latest));
  return entries;
}

Result<std::optional<CheckpointState>> read_catalog(const Place& place, OpenAttempt& attempt) {
  const std::filesystem::path& dir = place.dir;
  auto opened = place.directory.open_file(place.latest_filename, os::Links::Follow);
  if (!opened && opened.error().code == Code::NotFound) return std::optional<CheckpointState>();
  if (!opened) return std::move(opened).error();
  CAIRN_TRY(info, opened->info());
  const os::File& file = attempt.keep_catalog(*std::move(opened), info);
  CAIRN_TRY(bytes, os::read_whole(file, info, format::limits::kCatalogBytesMax));
  auto facts = format::tensorflow::decode_state(format::as_text(bytes));
  if (!facts) return error_of(file.path(), facts.error());
  if (facts->model_checkpoint_path.empty()) {
    return Error{Code::Corrupt, 0,
                 file.path() + ": names no latest checkpoint (model_checkpoint_path is empty)"};
  }
  CheckpointState state;
  state.model_checkpoint_path = dir / facts->model_checkpoint_path;
  for (const std::string& path : facts->all_model_checkpoint_paths) {
    state.all_model_checkpoint_paths.push_back(dir / path);
  }
  state.all_model_checkpoint_timestamps_s = std::move(facts->all_model_checkpoint_timestamps);
  state.last_preserved_timestamp_s = facts->last_preserved_timestamp;
  return std::optional(std::move(state));
}

std::filesystem::path from_directory(const std::filesystem::path& dir,
                                     const std::filesystem::path& entry) {
  std::string_view rest = entry.native();
  const std::string_view spelt = dir.native();
  if (spelt.empty() || !rest.starts_with(spelt)) return entry;
  rest.remove_prefix(spelt.size());
  if (!spelt.ends_with('/') && !rest.starts_with('/')) return entry;
  rest.remove_prefix(std::min(rest.find_first_not_of('/'), rest.size()));
  return rest;
}

bool checkpoint_exists(const Place& place, const std::filesystem::path& prefix) {
  const std::filesystem::path from = from_directory(place.dir, prefix);
  if (any_first_file(place, from, file_exists)) return true;
  const auto inside = is_own_directory(place, from.parent_path());
  return inside && *inside && v1_files_exist(place, from.filename().string());
}

bool checkpoint_exists(const std::filesystem::path& dir, const std::filesystem::path& prefix) {
  const auto directory = os::Directory::open(dir);
  return directory && checkpoint_exists({dir, *directory, kCatalogName}, prefix);
}

Result<Entry> resolve_entry(const Place& place, const std::filesystem::path& entry,
                            bool follow_links) {
  const std::filesystem::path from = from_directory(place.dir, entry);
  CAIRN_TRY(own, is_own_directory(place, from.parent_path()));
  const bool below = !own && lies_below(place, from.parent_path());
  const bool there = any_first_file(place, from, file_exists);
  // What a file names is not followed.
  if ((own || below) && !follow_links && any_first_file(place, from, leads_out)) {
    return Error{Code::Unsafe, 0,
                 catalog_path(place) + ": names " + entry.string() +
                     ", which is a symbolic link that leads out of its directory; if you trust it, "
                     "use follow_links (--follow-links)"};
  }
  const std::string last = last_part(entry);
  const std::filesystem::path beside = place.dir / last;
  const bool elsewhere = !own || last != from.filename().string();
  const bool nameable = !last.empty() && last != "." && last != "..";
  if (!there && elsewhere && nameable && checkpoint_exists(place, beside)) {
    return Entry{beside,
                 catalog_path(place) + ": " + entry.string() + " is gone; " + beside.string() +
                     ", in the directory of the catalog, was opened instead",
                 last};
  }
  if (own) return Entry{entry, {}, from.filename().string()};
  if (below || follow_links) return Entry{entry, {}, {}};
  return Error{Code::Unsafe, 0,
               catalog_path(place) + ": names " + entry.string() +
                   ", which is outside its directory; give that prefix itself, or use follow_links "
                   "(--follow-links)"};
}

Result<Entry> resolve_entry(const std::filesystem::path& dir, const std::filesystem::path& entry,
                            bool follow_links) {
  CAIRN_TRY(directory, os::Directory::open(dir));
  return resolve_entry({dir, directory, kCatalogName}, entry, follow_links);
}

Result<LatestWhole> find_latest_whole(const std::filesystem::path& dir, std::string_view file_name,
                                      bool follow_links) {
  OpenAttempt attempt;
  const auto read = [&] {
    return by_catalog<LatestWhole>({dir, file_name}, attempt,
                                   [&](const Place& place, const auto& state) {
                                     return newest_whole_of(place, state, follow_links);
                                   });
  };
  // What the catalog named may have been pruned since, and a newer one be there.
  return retry_until_stable(attempt, read, [](const Result<LatestWhole>& answer) {
    return answer ? answer->skipped.empty() : !may_be_a_race(answer.error());
  });
}

Result<std::vector<ListedCheckpoint>> look_at_entries(const std::filesystem::path& dir,
                                                      std::string_view file_name,
                                                      bool follow_links) {
  using Looked = std::vector<ListedCheckpoint>;
  OpenAttempt attempt;
  const auto read = [&] {
    return by_catalog<Looked>(
        {dir, file_name}, attempt, [&](const Place& place, const auto& state) {
          auto paths = state.all_model_checkpoint_paths;
          if (std::ranges::find(paths, state.model_checkpoint_path) == paths.end())
            paths.push_back(state.model_checkpoint_path);
          Looked looked;
          for (const auto& path : paths) looked.push_back(look_at(place, path, follow_links));
          return looked;
        });
  };
  return retry_until_stable(attempt, read, [](const Result<Looked>& answer) {
    return answer ? std::ranges::all_of(*answer,
                                        [](const auto& each) { return each.opens_as.has_value(); })
                  : !may_be_a_race(answer.error());
  });
}

Error with_newest_whole(Error error, const OpenAttempt& attempt, bool follow_links) {
  if (!attempt.catalog_dir) return error;
  const auto whole = find_latest_whole(*attempt.catalog_dir, kCatalogName, follow_links);
  if (!whole) return error;
  error.what += whole->prefix ? "; the newest whole checkpoint is " + whole->prefix->string()
                              : "; the catalog names no other checkpoint that is whole";
  return error;
}

}  // namespace cairn::internal
