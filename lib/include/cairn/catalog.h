#pragma once

// The catalog: the file `checkpoint` in a directory, TensorFlow's CheckpointState in protobuf's
// text format. It says which checkpoints there are, oldest first, and which one is the latest.

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
// one that names no latest checkpoint), Io.
CAIRN_API Result<std::optional<CheckpointState>> get_checkpoint_state(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint") noexcept;

// Replaces the catalog of `dir` durably. Paths are written by TensorFlow's rules: absolute ones as
// they are; relative ones made relative to `dir` where `dir` itself is relative, else as they are.
// model_checkpoint_path is added at the end of all_model_checkpoint_paths where it is not there
// already. Takes the directory's lock, and waits 10 s for it. Errors: Busy (a Saver writes here);
// Invalid (no latest checkpoint; timestamps of another number than paths; a
// checkpoint named like the catalog; a path that is not UTF-8), NotFound (no such directory), Io,
// NoSpace.
CAIRN_API Result<void> update_checkpoint_state(
    const std::filesystem::path& dir, const CheckpointState& state,
    std::string_view latest_filename = "checkpoint") noexcept;

// TensorFlow's answer: what the catalog names as latest, if that checkpoint's P.index, P.cairn or
// V1 file exists. Nothing: no catalog, or the files are gone. Errors: those of
// get_checkpoint_state.
CAIRN_API Result<std::optional<std::filesystem::path>> latest_checkpoint(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint") noexcept;

struct PassedOver {
  std::filesystem::path prefix;
  std::string why;  // one sentence
};

struct LatestWhole {
  std::optional<std::filesystem::path> prefix;
  std::vector<PassedOver> passed_over;  // newer ones that are not whole, newest first
};

// The newest checkpoint of the catalog whose indexes are valid and whose shards are all there and
// long enough; reads indexes, not tensors. Errors: those of get_checkpoint_state.
CAIRN_API Result<LatestWhole> latest_whole(
    const std::filesystem::path& dir, std::string_view latest_filename = "checkpoint") noexcept;

}  // namespace cairn
