#pragma once

// The catalog: the file `checkpoint` in a directory, TensorFlow's CheckpointState in protobuf's
// text format. It says which checkpoints there are, oldest first, and which one is the latest.

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
  // Since the epoch; empty, or one for each path.
  std::vector<double> all_model_checkpoint_timestamps_s;
  double last_preserved_timestamp_s = 0;
};

// Reads the catalog of `dir`. Relative paths in it come back joined to `dir`, not normalised, as
// TensorFlow gives them. Nothing: there is no such file. Errors: Corrupt (not a CheckpointState, or
// one that names no latest checkpoint), Invalid (`latest_filename` is no bare file name, or one
// that a checkpoint's file or one of Cairn's has), Io.
CAIRN_API Result<std::optional<CheckpointState>> get_checkpoint_state(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint") noexcept;

// Replaces the catalog of `dir` durably. Paths are written by TensorFlow's rules: absolute ones as
// they are; relative ones made relative to `dir` where `dir` itself is relative, else as they are.
// model_checkpoint_path is added at the end of all_model_checkpoint_paths where it is not there
// already. Takes the directory's lock, and waits so long for it (0: not at all; max(): for ever).
// Errors: Busy (`lock_wait` is over; the sentence names who writes here); Invalid (no latest
// checkpoint; timestamps of another number than paths; a checkpoint named like the catalog; a path
// that is not UTF-8; a catalog named as backups are, "X.bak", "X.old", "X.orig", "X~" or "#X#"),
// NotFound (no such directory), Unsupported (the file system has no locks), Io, NoSpace.
CAIRN_API Result<void> update_checkpoint_state(
    const std::filesystem::path& dir, const CheckpointState& state,
    std::string_view latest_filename = "checkpoint",
    std::chrono::milliseconds lock_wait = std::chrono::seconds(30)) noexcept;

// Makes `prefix` the latest: it moves to the end of the catalog's entries, or is added there; the
// others stay. Under the directory's lock from reading to writing, so that nothing is lost that a
// Saver lists meanwhile. Errors: NotFound (by then no P.index, P.cairn or V1 file is there: it has
// been removed or moved; whether it is whole is not looked at); as get_checkpoint_state and
// update_checkpoint_state, which lists what it is told.
CAIRN_API Result<void> set_latest_checkpoint(
    const std::filesystem::path& dir, const std::filesystem::path& prefix,
    std::string_view latest_filename = "checkpoint",
    std::chrono::milliseconds lock_wait = std::chrono::seconds(30)) noexcept;

// TensorFlow's answer: what the catalog names as latest, if that checkpoint's P.index, P.cairn or
// V1 file exists. Nothing: no catalog, or the files are gone. Errors: those of
// get_checkpoint_state.
CAIRN_API Result<std::optional<std::filesystem::path>> latest_checkpoint(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint") noexcept;

struct SkippedCheckpoint {
  std::filesystem::path prefix;
  std::string why;  // one sentence
};

struct LatestWhole {
  std::optional<std::filesystem::path> prefix;
  std::vector<SkippedCheckpoint> skipped;  // newer ones that are not whole, newest first
};

// The newest checkpoint of the catalog whose indexes are valid and whose shards are all there and
// long enough; reads indexes, not tensors. `follow_links` as OpenOptions. Errors: those of
// get_checkpoint_state.
CAIRN_API Result<LatestWhole> latest_whole(const std::filesystem::path& dir,
                                           std::string_view latest_filename = "checkpoint",
                                           bool follow_links = false) noexcept;

// An entry of a catalog, looked at.
struct ListedCheckpoint {
  std::filesystem::path prefix;                   // as the catalog names it
  std::optional<std::filesystem::path> opens_as;  // nothing: it is not whole
  std::string why;                                // it is not whole, in a sentence
};

// Of every entry whether it opens, by its indexes, oldest first; a latest one that is not listed
// comes last. Where what is named is gone, the same name beside the catalog opens instead: the
// directory was moved, or the path comes from Windows. Nothing: there is no catalog. `follow_links`
// as OpenOptions. Errors: those of get_checkpoint_state.
CAIRN_API Result<std::vector<ListedCheckpoint>> listed_checkpoints(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint",
    bool follow_links = false) noexcept;

struct RepairOptions {
  bool all = false;      // list every whole checkpoint, whatever this catalog says
  bool dry_run = false;  // change nothing
  std::chrono::milliseconds lock_wait{30'000};  // as update_checkpoint_state; 0: not at all
};

struct Repaired {
  CheckpointState state;                    // as the catalog is now; no latest: nothing is whole
  std::vector<SkippedCheckpoint> left_out;  // those that are not listed
  std::vector<SkippedCheckpoint> kept;      // those that are, though nobody could judge them
  bool changed = false;
  std::vector<std::string> warnings;  // such as: what a process that died had begun was finished
};

// Makes the catalog of `dir` say what is there. Of a catalog that can be read, the entries that are
// whole stay, in their order; those that are gone or damaged go; whole checkpoints that are younger
// than every entry are added. What cannot be judged stays and is named: a symbolic link, which is
// not followed, what lies in another directory, what cannot be read today. Left alone are
// checkpoints that another catalog of the directory lists (latest_filename), or may list, since it
// is damaged (unless `all`) or cannot be read, and copies of others here ("m-2 - Copy"). An older
// one that is not listed may have been preserved for ever by retention, which would delete it if it
// were listed: `all` lists it, and copies, too. Where the catalog is missing or damaged, every
// whole checkpoint is listed, by the time it was saved (as its Saver or Writer wrote it down, else
// that of P.index; then by step, then by name). Nothing is whole: the catalog stays as it is. Takes
// the directory's lock, as update_checkpoint_state does, unless `dry_run`. Errors: NotFound (no
// such directory), Busy, Io, NoSpace. Cost: reads every index, no tensor, and the first bytes of
// every other file.
CAIRN_API Result<Repaired> repair_catalog(const std::filesystem::path& dir,
                                          std::string_view latest_filename = "checkpoint",
                                          const RepairOptions& options = {}) noexcept;

struct UnnamedShard {
  std::filesystem::path path;
  std::uint64_t size_bytes = 0;
};

// The shards in `dir` that no index there names, by name. They may belong to a copy or a save that
// is under way, TensorFlow's too, or be what one that died left behind: nobody can tell, so Cairn
// never removes them. Who knows that nothing is under way may remove them, or bring back their
// index. Those under an index that cannot be read are not among them. Errors: NotFound (no such
// directory), Io. Cost: reads the indexes of every prefix that has shards, no tensor.
CAIRN_API Result<std::vector<UnnamedShard>> unnamed_shards(
    const std::filesystem::path& dir) noexcept;

struct LeftFile {
  std::filesystem::path path;
  std::uint64_t size_bytes = 0;
};

// What processes that died left in a directory.
struct LeftBehind {
  std::vector<SkippedCheckpoint> unfinished;  // checkpoints, and what becomes of each
  std::vector<LeftFile> files;                // that go
  std::vector<std::string> warnings;          // why some of it will not, or is not known
};

// What the next save, prune, pin, move, removal or repair in `dir` does before its own work: of a
// save, a move or a removal that was cut short it finishes or takes back what that had begun
// (`unfinished`), and it removes temporary files that nobody holds any more, the shards that these
// alone name, and each P.cairn that outlived its checkpoint (`files`). This call changes nothing.
// What a process that lives is about is not among it: each file is asked for twice, a moment apart.
// Errors: NotFound (no such directory), Io; what a catalog that cannot be read leaves open is a
// warning. Cost: a list of the directory, and where something is left, those indexes; no tensor.
CAIRN_API Result<LeftBehind> left_behind(const std::filesystem::path& dir) noexcept;

}  // namespace cairn
