#include "lib/compat/catalog.h"

#include <algorithm>

#include "format/le.h"
#include "format/limits.h"
#include "format/tensorflow/state_text.h"
#include "lib/compat/load.h"
#include "lib/store/names.h"
#include "lib/try.h"

namespace cairn::compat {
namespace {

// What cannot be looked at is there: to open it says why it cannot.
bool file_exists(const std::filesystem::path& path) {
  const auto there = os::look(path);
  return !there || there->has_value();
}

// Whether it holds for one of the files that a reader of the prefix may begin with.
template <class Holds>
bool any_first_file(const std::filesystem::path& prefix, Holds holds) {
  const std::string text = prefix.string();
  return holds(text + std::string(store::kTensorFlowSuffix)) ||
         holds(text + std::string(store::kCairnSuffix)) || holds(prefix);
}

// Whether one of the files is there that a catalog lists as "m-?????-of-00003".
bool v1_files_exist(const std::filesystem::path& prefix) {
  const auto all = store::v1_name(prefix.filename().string());
  if (!all || all->shard) return false;
  const auto names = os::Directory::open(prefix.parent_path()).and_then([](const auto& directory) {
    return directory.names();
  });
  return names && std::ranges::any_of(*names, [&](const std::string& name) {
           const auto one = store::v1_name(name);
           return one && one->shard && one->base == all->base && one->count == all->count;
         });
}

// Whether two paths name the same directory, however they are spelt.
Result<bool> same_directory(const std::filesystem::path& a, const std::filesystem::path& b) {
  CAIRN_TRY(left, os::look(a.empty() ? "." : a));
  CAIRN_TRY(right, os::look(b.empty() ? "." : b));
  return left && right && left->device == right->device && left->inode == right->inode;
}

LatestWhole newest_whole_of(const std::filesystem::path& dir, const CheckpointState& state,
                            bool follow_links) {
  std::vector<std::filesystem::path> newest_first(state.all_model_checkpoint_paths.rbegin(),
                                                  state.all_model_checkpoint_paths.rend());
  std::erase(newest_first, state.model_checkpoint_path);
  newest_first.insert(newest_first.begin(), state.model_checkpoint_path);
  LatestWhole found;
  for (const std::filesystem::path& path : newest_first) {
    const auto entry = resolve_entry(dir, path, follow_links);
    const Result<void> whole = entry ? check_openable(entry->prefix, follow_links) : entry.error();
    if (whole) {
      found.prefix = entry->prefix;
      break;
    }
    found.passed_over.push_back({path, whole.error().what});
  }
  return found;
}

}  // namespace

Result<std::optional<CheckpointState>> read_catalog(const std::filesystem::path& dir,
                                                    std::string_view file_name, Trail& trail) {
  auto directory = os::Directory::open(dir);
  if (!directory && directory.error().code == Code::NotFound)
    return std::optional<CheckpointState>();
  if (!directory) return std::move(directory).error();
  auto opened = directory->open_file(file_name, os::Links::Follow);
  if (!opened && opened.error().code == Code::NotFound) return std::optional<CheckpointState>();
  if (!opened) return std::move(opened).error();
  CAIRN_TRY(info, opened->info());
  const os::File& file = trail.keep_catalog(*std::move(opened), info);
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

bool checkpoint_exists(const std::filesystem::path& dir, const std::filesystem::path& prefix) {
  if (any_first_file(prefix, file_exists)) return true;
  const auto inside = same_directory(prefix.parent_path(), dir);
  return inside && *inside && v1_files_exist(prefix);
}

Result<Entry> resolve_entry(const std::filesystem::path& dir, const std::filesystem::path& entry,
                            bool follow_links) {
  const std::filesystem::path parent = entry.parent_path();
  CAIRN_TRY(inside, same_directory(parent, dir));
  if (inside) {
    // What a file names is not followed.
    if (!follow_links && any_first_file(entry, os::is_link)) {
      return Error{Code::Unsafe, 0,
                   (dir / kCatalogName).string() + ": names " + entry.string() +
                       ", which is a symbolic link; open with follow_links"};
    }
    return Entry{entry, {}};
  }
  const std::filesystem::path beside = dir / entry.filename();
  if (!any_first_file(entry, file_exists) && checkpoint_exists(dir, beside)) {
    return Entry{beside, (dir / kCatalogName).string() + ": " + entry.string() +
                             " is gone; opened " + beside.string() + " beside the catalog instead"};
  }
  if (follow_links) return Entry{entry, {}};
  return Error{
      Code::Unsafe, 0,
      (dir / kCatalogName).string() + ": names " + entry.string() +
          ", which is outside its directory; give that prefix itself, or open with follow_links"};
}

Result<LatestWhole> find_latest_whole(const std::filesystem::path& dir, std::string_view file_name,
                                      bool follow_links) {
  Trail trail;
  const auto attempt = [&]() -> Result<LatestWhole> {
    CAIRN_TRY(state, read_catalog(dir, file_name, trail));
    return state ? newest_whole_of(dir, *state, follow_links) : LatestWhole();
  };
  // What the catalog named may have been pruned since, and a newer one be there.
  return until_still(trail, attempt, [](const Result<LatestWhole>& answer) {
    return answer ? answer->passed_over.empty() : !may_be_a_race(answer.error());
  });
}

Error with_newest_whole(Error error, const Trail& trail, bool follow_links) {
  if (!trail.catalog_dir) return error;
  const auto whole = find_latest_whole(*trail.catalog_dir, kCatalogName, follow_links);
  if (!whole) return error;
  error.what += whole->prefix ? "; the newest whole checkpoint is " + whole->prefix->string()
                              : "; no other that the catalog names is whole";
  return error;
}

}  // namespace cairn::compat
