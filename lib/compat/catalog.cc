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

// Whether two paths name the same directory, however they are spelt.
Result<bool> same_directory(const std::filesystem::path& a, const std::filesystem::path& b) {
  CAIRN_TRY(left, os::look(a.empty() ? "." : a));
  CAIRN_TRY(right, os::look(b.empty() ? "." : b));
  return left && right && left->device == right->device && left->inode == right->inode;
}

}  // namespace

Result<std::optional<CheckpointState>> read_catalog(const std::filesystem::path& dir,
                                                    std::string_view file_name) {
  auto directory = os::Directory::open(dir);
  if (!directory && directory.error().code == Code::NotFound)
    return std::optional<CheckpointState>();
  if (!directory) return std::move(directory).error();
  auto file = directory->open_file(file_name, os::Links::Follow);
  if (!file && file.error().code == Code::NotFound) return std::optional<CheckpointState>();
  if (!file) return std::move(file).error();
  CAIRN_TRY(bytes, os::read_whole(*file, format::limits::kCatalogBytesMax));
  auto facts = format::tensorflow::decode_state(format::as_text(bytes));
  if (!facts) return error_of(file->path(), facts.error());
  if (facts->model_checkpoint_path.empty()) {
    return Error{Code::Corrupt, 0,
                 file->path() + ": names no latest checkpoint (model_checkpoint_path is empty)"};
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

bool checkpoint_exists(const std::filesystem::path& prefix) {
  const std::string text = prefix.string();
  return file_exists(text + std::string(store::kTensorFlowSuffix)) ||
         file_exists(text + std::string(store::kCairnSuffix)) || file_exists(prefix);
}

Result<Entry> resolve_entry(const std::filesystem::path& dir, const std::filesystem::path& entry,
                            bool follow_links) {
  const std::filesystem::path parent = entry.parent_path();
  CAIRN_TRY(inside, same_directory(parent, dir));
  if (inside) return Entry{entry, {}};
  const std::filesystem::path beside = dir / entry.filename();
  if (!checkpoint_exists(entry) && checkpoint_exists(beside)) {
    return Entry{beside, (dir / kCatalogName).string() + ": " + entry.string() +
                             " is gone; opened " + beside.string() + " beside the catalog instead"};
  }
  if (follow_links) return Entry{entry, {}};
  return Error{
      Code::Unsafe, 0,
      (dir / kCatalogName).string() + ": names " + entry.string() +
          ", which is outside its directory; give that prefix itself, or open with follow_links"};
}

LatestWhole find_latest_whole(const std::filesystem::path& dir, const CheckpointState& state,
                              bool follow_links) {
  std::vector<std::filesystem::path> newest_first(state.all_model_checkpoint_paths.rbegin(),
                                                  state.all_model_checkpoint_paths.rend());
  std::erase(newest_first, state.model_checkpoint_path);
  newest_first.insert(newest_first.begin(), state.model_checkpoint_path);
  LatestWhole found;
  for (const std::filesystem::path& path : newest_first) {
    auto whole = resolve_entry(dir, path, follow_links).and_then([&](const Entry& entry) {
      return check_openable(entry.prefix, follow_links).and_then([&]() -> Result<Entry> {
        return entry;
      });
    });
    if (whole) {
      found.prefix = whole->prefix;
      break;
    }
    found.passed_over.push_back({path, whole.error().what});
  }
  return found;
}

}  // namespace cairn::compat
