#pragma once

// The catalog is the file `checkpoint` in a directory. It holds TensorFlow's CheckpointState in
// protobuf's text format: the list of checkpoints, oldest first, and the latest one.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"
#include "cairn/export.h"

namespace cairn {

// TensorFlow's CheckpointState. Paths are prefixes.
struct CheckpointState {
  std::filesystem::path model_checkpoint_path;                    // the latest
  std::vector<std::filesystem::path> all_model_checkpoint_paths;  // oldest first, the latest last
  // Seconds since the epoch. Empty, or one value for each path.
  std::vector<double> all_model_checkpoint_timestamps_s;
  double last_preserved_timestamp_s = 0;
};

// Reads the catalog of `dir`. Relative paths are joined to `dir` and not normalised, as TensorFlow
// does it. Returns std::nullopt if there is no catalog.
//
// Errors: Corrupt (the file is not a CheckpointState, or it names no latest checkpoint), Invalid
// (`latest_filename` contains a directory, or it is a name that the file of a checkpoint or a file
// of Cairn's own has), Io.
CAIRN_API Result<std::optional<CheckpointState>> get_checkpoint_state(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint") noexcept;

// Replaces the catalog of `dir` durably. The function holds the directory's lock while it works,
// and waits at most `lock_wait` for the lock (0: it does not wait; max(): it waits without a
// limit).
//
// Paths follow TensorFlow's rules: a relative path becomes relative to `dir` if `dir` itself is
// relative; every other path is written as it is. model_checkpoint_path is appended to
// all_model_checkpoint_paths if the list does not contain it.
//
// Errors:
// - Busy: another process still holds the lock after `lock_wait`. The message names that process.
// - Invalid: there is no latest checkpoint; the number of timestamps is not the number of paths; a
//   checkpoint has the name of the catalog; a path is not UTF-8; the catalog has a name that backup
//   files have: "X.bak", "X.old", "X.orig", "X~" or "#X#".
// - NotFound (no such directory), Unsupported (the file system has no locks), Io, NoSpace.
CAIRN_API Result<void> update_checkpoint_state(
    const std::filesystem::path& dir, const CheckpointState& state,
    std::string_view latest_filename = "checkpoint",
    std::chrono::milliseconds lock_wait = std::chrono::seconds(30)) noexcept;

// Makes `prefix` the latest checkpoint: moves its entry to the end of the catalog, or adds it
// there. The other entries stay. The function holds the directory's lock while it reads and writes,
// so that no entry of a concurrent Saver is lost.
//
// Errors: NotFound (P.index, P.cairn and the V1 file are all missing: the checkpoint was removed or
// moved); those of get_checkpoint_state and update_checkpoint_state. The function does not check
// that the checkpoint is whole; update_checkpoint_state does not even check that it exists.
CAIRN_API Result<void> set_latest_checkpoint(
    const std::filesystem::path& dir, const std::filesystem::path& prefix,
    std::string_view latest_filename = "checkpoint",
    std::chrono::milliseconds lock_wait = std::chrono::seconds(30)) noexcept;

// Returns the latest checkpoint, as TensorFlow's function of this name does: the one that the
// catalog names, if its P.index, P.cairn or V1 file exists. Returns std::nullopt if there is no
// catalog, or if the files are gone. Errors: those of get_checkpoint_state.
CAIRN_API Result<std::optional<std::filesystem::path>> latest_checkpoint(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint") noexcept;

struct SkippedCheckpoint {
  std::filesystem::path prefix;
  std::string why;  // the reason, one sentence
};

struct LatestWhole {
  std::optional<std::filesystem::path> prefix;
  std::vector<SkippedCheckpoint> skipped;  // newer ones that are not whole, newest first
};

// Finds the newest checkpoint of the catalog that has valid indexes and all shards, each of them
// long enough. `follow_links` has the meaning of OpenOptions::follow_links. Errors: those of
// get_checkpoint_state. Cost: reads the indexes of one checkpoint after the other, and no tensor.
CAIRN_API Result<LatestWhole> latest_whole(const std::filesystem::path& dir,
                                           std::string_view latest_filename = "checkpoint",
                                           bool follow_links = false) noexcept;

// An entry of a catalog, and whether it opens. "Whole" means here that it opens: no tensor is read.
struct ListedCheckpoint {
  std::filesystem::path prefix;                   // as the catalog names it
  std::optional<std::filesystem::path> opens_as;  // std::nullopt: the checkpoint is not whole
  std::string why;                                // why it is not whole, one sentence
};

// Returns every entry of the catalog, oldest first, and whether it opens. A latest checkpoint that
// is not in the list comes last. Returns an empty list if there is no catalog.
//
// If the named checkpoint is gone, the one of the same name in the catalog's own directory opens
// instead: the directory was moved, or the path was written on Windows. `follow_links` has the
// meaning of OpenOptions::follow_links. Errors: those of get_checkpoint_state. Cost: reads the
// indexes of every entry, and no tensor.
CAIRN_API Result<std::vector<ListedCheckpoint>> listed_checkpoints(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint",
    bool follow_links = false) noexcept;

struct RepairOptions {
  bool all = false;      // list every whole checkpoint, also those that the catalog does not list
  bool dry_run = false;  // change nothing
  std::chrono::milliseconds lock_wait{30'000};  // as in update_checkpoint_state
};

struct Repaired {
  CheckpointState state;                    // the catalog now; no latest: no checkpoint is whole
  std::vector<SkippedCheckpoint> left_out;  // checkpoints that are not listed
  std::vector<SkippedCheckpoint> kept;      // listed, although they could not be checked
  bool changed = false;
  std::vector<std::string> warnings;  // for example: the work of a dead process was finished
};

// Makes the catalog of `dir` agree with the files. Holds the directory's lock, as
// update_checkpoint_state does, unless `dry_run`. A catalog that can be read changes as follows:
//
// - Entries that are whole stay, in their order. Entries that are gone or damaged are removed.
// - An entry that cannot be checked stays, and `kept` names it: a symbolic link (it is not
//   followed), a checkpoint in another directory, or one that cannot be read at present.
// - Whole checkpoints that are younger than every entry are added.
// - Older checkpoints without an entry, and copies of others ("m-2 - Copy"), are added with `all`
//   only. Retention may have preserved such a checkpoint, and would delete it if it were listed.
// - A checkpoint is not added if another catalog of the directory lists it (latest_filename), or
//   may list it, because that catalog cannot be read or is damaged (`all` ignores damaged ones).
//
// If the catalog is missing or damaged, every whole checkpoint is listed, in the order of the times
// of saving (from the Saver or Writer, else from P.index), then of steps, then of names. If no
// checkpoint is whole, the catalog stays as it is.
//
// Errors: NotFound (no such directory), Busy, Io, NoSpace. Cost: reads every index and the first
// bytes of every other file, and no tensor.
CAIRN_API Result<Repaired> repair_catalog(const std::filesystem::path& dir,
                                          std::string_view latest_filename = "checkpoint",
                                          const RepairOptions& options = {}) noexcept;

struct UnnamedShard {
  std::filesystem::path path;
  std::uint64_t size_bytes = 0;
};

// Returns the shards in `dir` that no index there names, in the order of names. Such a shard may
// belong to a copy or a save that still runs (TensorFlow's too), or a dead process has left it.
// Cairn cannot know which, and never removes such shards. If you know that no copy and no save
// runs, you can remove them or restore their index. Shards whose index cannot be read are not in
// the list. Errors: NotFound (no such directory), Io. Cost: reads the indexes of every prefix that
// has shards, and no tensor.
CAIRN_API Result<std::vector<UnnamedShard>> unnamed_shards(
    const std::filesystem::path& dir) noexcept;

struct LeftFile {
  std::filesystem::path path;
  std::uint64_t size_bytes = 0;
};

// What dead processes left in a directory.
struct LeftBehind {
  std::vector<SkippedCheckpoint> unfinished;  // checkpoints, and what will be done with each
  std::vector<LeftFile> files;                // files that will be removed
  std::vector<std::string> warnings;          // what will not be removed or is not known, and why
};

// Says what the next save, prune, pin, move, removal or repair in `dir` will do before its own
// work:
//
// - `unfinished`: it finishes or rolls back a save, a move or a removal whose process died.
// - `files`: it removes temporary files that no process holds, shards that only these files name,
//   and each P.cairn whose checkpoint is gone.
//
// This call changes nothing. The work of a living process is not in the answer: each file is
// checked twice, with a short pause between. Errors: NotFound (no such directory), Io. A catalog
// that cannot be read is no error; a warning says what is therefore not known. Cost: lists the
// directory, and reads the indexes of what was left; no tensor.
CAIRN_API Result<LeftBehind> left_behind(const std::filesystem::path& dir) noexcept;

}  // namespace cairn
