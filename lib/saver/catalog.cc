// The catalog's public functions: TensorFlow's rules for paths, written durably.

#include "cairn/catalog.h"
#include "format/tensorflow/state_text.h"
#include "lib/open/catalog.h"
#include "lib/os/file.h"
#include "lib/saver/catalog_file.h"
#include "lib/try.h"
#include "lib/write/lock.h"
#include "lib/write/publisher.h"

namespace cairn {
namespace {

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
        dir.string() +
            ": the latest checkpoint is not the last one in the list and has no timestamp"};
  }
  format::tensorflow::StateFacts facts;
  for (const auto& path : paths) {
    facts.all_model_checkpoint_paths.push_back(internal::written_path(dir, path));
  }
  facts.model_checkpoint_path = facts.all_model_checkpoint_paths.back();
  facts.all_model_checkpoint_timestamps = std::move(stamps);
  facts.last_preserved_timestamp = state.last_preserved_timestamp_s;
  return facts;
}

Result<void> refuse_itself(const std::filesystem::path& dir, const std::string& latest,
                           std::string_view latest_filename) {
  if (latest != latest_filename && latest != (dir / latest_filename).string()) return {};
  return Error{Code::Invalid, 0,
               dir.string() + ": a checkpoint named " + std::string(latest_filename) +
                   " would have the name of the catalog"};
}

// Who waited for the directory's lock may have waited for its removal. `latest`: as written.
Result<void> refuse_gone(const internal::Place& place, const std::string& latest) {
  if (internal::checkpoint_exists(place, place.dir / latest)) return {};
  return Error{
      Code::NotFound, 0,
      (place.dir / latest).string() + ": there is no such checkpoint, so it cannot be the latest"};
}

// `prefix` becomes the last entry. Where the catalog has times, it keeps the one it had.
void move_to_end(CheckpointState& state, const std::filesystem::path& prefix) {
  auto& paths = state.all_model_checkpoint_paths;
  auto& times = state.all_model_checkpoint_timestamps_s;
  const bool timed = paths.empty() || times.size() == paths.size();
  double time_s = static_cast<double>(os::now_ns()) * 1e-9;
  for (std::size_t i = paths.size(); i-- > 0;) {
    if (paths[i].lexically_normal() != prefix.lexically_normal()) continue;
    const auto at = static_cast<std::ptrdiff_t>(i);
    paths.erase(paths.begin() + at);
    if (!timed) continue;
    time_s = times[i];
    times.erase(times.begin() + at);
  }
  paths.push_back(prefix);
  if (timed) {
    times.push_back(time_s);
  } else {
    times.clear();
  }
  state.model_checkpoint_path = prefix;
}

}  // namespace

Result<std::optional<CheckpointState>> get_checkpoint_state(
    const std::filesystem::path& dir, std::string_view latest_filename) noexcept {
  return at_boundary([&]() -> Result<std::optional<CheckpointState>> {
    CAIRN_CHECK(internal::check_catalog_name(dir, latest_filename));
    internal::OpenAttempt attempt;
    return internal::retry_until_stable(
        attempt, [&] { return internal::read_catalog(dir, latest_filename, attempt); });
  });
}

Result<void> update_checkpoint_state(const std::filesystem::path& dir, const CheckpointState& state,
                                     std::string_view latest_filename,
                                     std::chrono::milliseconds lock_wait) noexcept {
  return at_boundary([&]() -> Result<void> {
    if (state.model_checkpoint_path.empty()) {
      return Error{Code::Invalid, 0, dir.string() + ": a catalog needs a latest checkpoint"};
    }
    CAIRN_CHECK(internal::check_written_name(dir, latest_filename));
    CAIRN_TRY(facts, written(dir, state));
    CAIRN_CHECK(refuse_itself(dir, facts.model_checkpoint_path, latest_filename));
    CAIRN_TRY(directory, os::Directory::open(dir));
    const auto lock = internal::Lock::of_directory(directory, {lock_wait, {}});
    if (!lock) return lock.error();
    CAIRN_CHECK(internal::sweep_all(directory));
    return internal::publish_catalog(directory, latest_filename, facts);
  });
}

Result<void> set_latest_checkpoint(const std::filesystem::path& dir,
                                   const std::filesystem::path& prefix,
                                   std::string_view latest_filename,
                                   std::chrono::milliseconds lock_wait) noexcept {
  return at_boundary([&]() -> Result<void> {
    CAIRN_CHECK(internal::check_written_name(dir, latest_filename));
    CAIRN_TRY(directory, os::Directory::open(dir));
    const auto lock = internal::Lock::of_directory(directory, {lock_wait, {}});
    if (!lock) return lock.error();
    const internal::Place place{dir, directory, latest_filename};
    internal::OpenAttempt attempt;
    CAIRN_TRY(before, internal::read_catalog(place, attempt));
    CheckpointState state = before.value_or(CheckpointState{});
    move_to_end(state, prefix);
    CAIRN_TRY(facts, written(dir, state));
    CAIRN_CHECK(refuse_itself(dir, facts.model_checkpoint_path, latest_filename));
    CAIRN_CHECK(refuse_gone(place, facts.model_checkpoint_path));
    CAIRN_CHECK(internal::sweep_all(directory));
    return internal::publish_catalog(directory, latest_filename, facts);
  });
}

Result<std::optional<std::filesystem::path>> latest_checkpoint(
    const std::filesystem::path& dir, std::string_view latest_filename) noexcept {
  using Latest = std::optional<std::filesystem::path>;
  return at_boundary([&]() -> Result<Latest> {
    CAIRN_CHECK(internal::check_catalog_name(dir, latest_filename));
    internal::OpenAttempt attempt;
    const auto read = [&]() -> Result<Latest> {
      CAIRN_TRY(state, internal::read_catalog(dir, latest_filename, attempt));
      if (!state || !internal::checkpoint_exists(dir, state->model_checkpoint_path))
        return Latest();
      return Latest(state->model_checkpoint_path);
    };
    return internal::retry_until_stable(attempt, read, [](const Result<Latest>& answer) {
      return answer ? answer->has_value() : !internal::may_be_a_race(answer.error());
    });
  });
}

Result<LatestWhole> latest_whole(const std::filesystem::path& dir, std::string_view latest_filename,
                                 bool follow_links) noexcept {
  return at_boundary([&]() -> Result<LatestWhole> {
    CAIRN_CHECK(internal::check_catalog_name(dir, latest_filename));
    return internal::find_latest_whole(dir, latest_filename, follow_links);
  });
}

Result<std::vector<ListedCheckpoint>> listed_checkpoints(const std::filesystem::path& dir,
                                                         std::string_view latest_filename,
                                                         bool follow_links) noexcept {
  return at_boundary([&]() -> Result<std::vector<ListedCheckpoint>> {
    CAIRN_CHECK(internal::check_catalog_name(dir, latest_filename));
    return internal::look_at_entries(dir, latest_filename, follow_links);
  });
}

}  // namespace cairn
