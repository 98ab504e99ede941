// The catalog of a directory.

#include <cstdlib>

#include "lib/c/boundary.h"

namespace cairn::c {

namespace {

struct CatalogOptions {
  std::string latest_filename;
  std::chrono::milliseconds lock_wait{};
  bool follow_links = false;
};

Result<CatalogOptions> options_of(const cairn_catalog_options* given) {
  CAIRN_TRY(known, struct_of(given, "cairn_catalog_options"));
  CAIRN_CHECK(check_reserved(known.reserved, "cairn_catalog_options"));
  CAIRN_TRY(lock_wait, lock_wait_of(known.lock_wait_ms));
  return CatalogOptions{std::string(text_or(known.latest_filename, "checkpoint")), lock_wait,
                        known.follow_links != 0};
}

Result<std::filesystem::path> directory_of(const char* dir) {
  return path_of(dir, "the directory of a catalog");
}

struct OwnedState : cairn_checkpoint_state {
  explicit OwnedState(CheckpointState of_cairn)
      : state(std::move(of_cairn)), paths(strings_of(state.all_model_checkpoint_paths)) {
    model_checkpoint_path = string_of(state.model_checkpoint_path.native());
    all_model_checkpoint_paths = paths.data();
    all_model_checkpoint_paths_count = paths.size();
    const auto& times = state.all_model_checkpoint_timestamps_s;
    all_model_checkpoint_timestamps_s = times.empty() ? nullptr : times.data();
    last_preserved_timestamp_s = state.last_preserved_timestamp_s;
  }

  CheckpointState state;
  std::vector<cairn_string> paths;
};

Result<CheckpointState> state_of(const cairn_new_checkpoint_state* given) {
  CAIRN_TRY(known, struct_of(given, "cairn_new_checkpoint_state"));
  CheckpointState state;
  CAIRN_TRY(latest, path_of(known.model_checkpoint_path, "model_checkpoint_path"));
  state.model_checkpoint_path = latest;
  const std::size_t count = known.all_model_checkpoint_paths_count;
  for (const char* const each : std::span(known.all_model_checkpoint_paths, count)) {
    CAIRN_TRY(path, path_of(each, "one of all_model_checkpoint_paths"));
    state.all_model_checkpoint_paths.push_back(path);
  }
  if (const double* const times = known.all_model_checkpoint_timestamps_s; times != nullptr)
    state.all_model_checkpoint_timestamps_s.assign(times, times + count);
  state.last_preserved_timestamp_s = known.last_preserved_timestamp_s;
  return state;
}

using OwnedWhole = OwnedFound<cairn_whole_checkpoint>;

struct OwnedListed : cairn_listed_checkpoints {
  explicit OwnedListed(std::vector<ListedCheckpoint> of_cairn) : found(std::move(of_cairn)) {
    for (const ListedCheckpoint& each : found) {
      items.push_back(
          {string_of(each.prefix.native()), path_string(each.opens_as), string_of(each.why)});
    }
    pointers = pointers_to(items);
    checkpoints = pointers.data();
    count = pointers.size();
  }

  std::vector<ListedCheckpoint> found;
  std::vector<cairn_listed_checkpoint> items;
  std::vector<const cairn_listed_checkpoint*> pointers;
};

// A text that the caller frees; NULL: nothing.
Result<char*> new_text(const std::optional<std::filesystem::path>& path) {
  if (!path) return static_cast<char*>(nullptr);
  char* const text = ::strdup(path->c_str());
  if (text == nullptr) return Error{Code::OutOfMemory, 0, "out of memory"};
  return text;
}

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

cairn_code cairn_get_checkpoint_state(const char* dir, const cairn_catalog_options* options,
                                      cairn_checkpoint_state** state, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, directory_of(dir));
    CAIRN_TRY(known, options_of(options));
    CAIRN_TRY(found, cairn::get_checkpoint_state(path, known.latest_filename));
    *state = found ? new OwnedState(*std::move(found)) : nullptr;
    return {};
  });
}

void cairn_checkpoint_state_free(cairn_checkpoint_state* state) {
  delete static_cast<OwnedState*>(state);
}

cairn_code cairn_update_checkpoint_state(const char* dir, const cairn_new_checkpoint_state* state,
                                         const cairn_catalog_options* options,
                                         cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, directory_of(dir));
    CAIRN_TRY(wanted, state_of(state));
    CAIRN_TRY(known, options_of(options));
    return cairn::update_checkpoint_state(path, wanted, known.latest_filename, known.lock_wait);
  });
}

cairn_code cairn_set_latest_checkpoint(const char* dir, const char* prefix,
                                       const cairn_catalog_options* options, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, directory_of(dir));
    CAIRN_TRY(latest, path_of(prefix, "the prefix of a checkpoint"));
    CAIRN_TRY(known, options_of(options));
    return cairn::set_latest_checkpoint(path, latest, known.latest_filename, known.lock_wait);
  });
}

cairn_code cairn_latest_checkpoint(const char* dir, const cairn_catalog_options* options,
                                   char** prefix, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, directory_of(dir));
    CAIRN_TRY(known, options_of(options));
    CAIRN_TRY(latest, cairn::latest_checkpoint(path, known.latest_filename));
    CAIRN_TRY(text, new_text(latest));
    *prefix = text;
    return {};
  });
}

cairn_code cairn_latest_whole(const char* dir, const cairn_catalog_options* options,
                              cairn_whole_checkpoint** whole, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, directory_of(dir));
    CAIRN_TRY(known, options_of(options));
    CAIRN_TRY(found, cairn::latest_whole(path, known.latest_filename, known.follow_links));
    *whole = new OwnedWhole(std::move(found));
    return {};
  });
}

void cairn_whole_checkpoint_free(cairn_whole_checkpoint* whole) {
  delete static_cast<OwnedWhole*>(whole);
}

cairn_code cairn_list_checkpoints(const char* dir, const cairn_catalog_options* options,
                                  cairn_listed_checkpoints** checkpoints, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, directory_of(dir));
    CAIRN_TRY(known, options_of(options));
    CAIRN_TRY(listed, cairn::listed_checkpoints(path, known.latest_filename, known.follow_links));
    *checkpoints = new OwnedListed(std::move(listed));
    return {};
  });
}

void cairn_listed_checkpoints_free(cairn_listed_checkpoints* checkpoints) {
  delete static_cast<OwnedListed*>(checkpoints);
}
