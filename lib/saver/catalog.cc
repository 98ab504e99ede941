// The catalog's public functions: TensorFlow's rules for paths, written durably.

#include <algorithm>

#include "cairn/catalog.h"
#include "format/le.h"
#include "format/safetensors/header.h"
#include "format/tensorflow/state_text.h"
#include "lib/compat/catalog.h"
#include "lib/os/file.h"
#include "lib/store/draft.h"
#include "lib/try.h"

namespace cairn {
namespace {

// Absolute and without ".", ".." and a slash at the end; links are not looked at.
std::filesystem::path normal(const std::filesystem::path& path) {
  std::filesystem::path whole = (std::filesystem::current_path() / path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

// What TensorFlow's generate_checkpoint_state_proto writes for a path: where the directory itself
// is relative, relative paths are taken as relative to the working directory and rewritten relative
// to it, as Python's os.path.relpath does; everything else stays as it is.
std::string written_path(const std::filesystem::path& dir, const std::filesystem::path& path) {
  if (dir.is_absolute() || path.is_absolute()) return path.string();
  return normal(path).lexically_relative(normal(dir)).string();
}

Result<format::tensorflow::StateFacts> written(const std::filesystem::path& dir,
                                               const CheckpointState& state) {
  auto paths = state.all_model_checkpoint_paths;
  auto stamps = state.all_model_checkpoint_timestamps_s;
  if (!stamps.empty() && stamps.size() != paths.size()) {
    return Error{Code::Invalid, 0,
                 dir.string() + ": " + std::to_string(stamps.size()) + " timestamps for " +
                     std::to_string(paths.size()) + " checkpoints"};
  }
  if (paths.empty() || paths.back() != state.model_checkpoint_path)
    paths.push_back(state.model_checkpoint_path);
  if (!stamps.empty() && stamps.size() != paths.size()) {
    return Error{
        Code::Invalid, 0,
        dir.string() + ": the latest checkpoint is not the last of the list, and has no timestamp"};
  }
  format::tensorflow::StateFacts facts;
  for (const auto& path : paths) {
    facts.all_model_checkpoint_paths.push_back(written_path(dir, path));
    if (format::safetensors::is_utf8(facts.all_model_checkpoint_paths.back())) continue;
    return Error{Code::Invalid, 0,
                 path.string() + ": a catalog names checkpoints in UTF-8, and this name is not"};
  }
  facts.model_checkpoint_path = facts.all_model_checkpoint_paths.back();
  facts.all_model_checkpoint_timestamps = std::move(stamps);
  facts.last_preserved_timestamp = state.last_preserved_timestamp_s;
  return facts;
}

}  // namespace

Result<std::optional<CheckpointState>> get_checkpoint_state(
    const std::filesystem::path& dir, std::string_view latest_filename) noexcept {
  return at_boundary([&] {
    compat::Trail trail;
    return compat::until_still(trail,
                               [&] { return compat::read_catalog(dir, latest_filename, trail); });
  });
}

Result<void> update_checkpoint_state(const std::filesystem::path& dir, const CheckpointState& state,
                                     std::string_view latest_filename) noexcept {
  return at_boundary([&]() -> Result<void> {
    if (state.model_checkpoint_path.empty()) {
      return Error{Code::Invalid, 0, dir.string() + ": a catalog needs a latest checkpoint"};
    }
    CAIRN_TRY(facts, written(dir, state));
    if (facts.model_checkpoint_path == latest_filename ||
        facts.model_checkpoint_path == (dir / latest_filename).string()) {
      return Error{Code::Invalid, 0,
                   dir.string() + ": a checkpoint named " + std::string(latest_filename) +
                       " would be the catalog itself"};
    }
    CAIRN_TRY(directory, os::Directory::open(dir));
    const std::string text = format::tensorflow::encode_state(facts);
    CAIRN_TRY(draft,
              store::draft_with(directory, std::string(latest_filename), format::as_bytes(text)));
    CAIRN_CHECK(draft.publish(store::Draft::Taken::Replace));
    CAIRN_CHECK(directory.sync());
    store::remove_leftovers(directory, std::string(latest_filename) + ".");
    return {};
  });
}

Result<std::optional<std::filesystem::path>> latest_checkpoint(
    const std::filesystem::path& dir, std::string_view latest_filename) noexcept {
  using Latest = std::optional<std::filesystem::path>;
  return at_boundary([&]() -> Result<Latest> {
    compat::Trail trail;
    const auto attempt = [&]() -> Result<Latest> {
      CAIRN_TRY(state, compat::read_catalog(dir, latest_filename, trail));
      if (!state || !compat::checkpoint_exists(state->model_checkpoint_path)) return Latest();
      return Latest(state->model_checkpoint_path);
    };
    return compat::until_still(trail, attempt, [](const Result<Latest>& answer) {
      return answer ? answer->has_value() : !compat::may_be_a_race(answer.error());
    });
  });
}

Result<LatestWhole> latest_whole(const std::filesystem::path& dir,
                                 std::string_view latest_filename) noexcept {
  return at_boundary([&] { return compat::find_latest_whole(dir, latest_filename, false); });
}

}  // namespace cairn
