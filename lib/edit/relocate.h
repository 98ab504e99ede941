#pragma once

// A checkpoint as a whole on its way to another place: what copy and move share. No tensor is
// decoded, and no index but P.cairn, which names shards, is written anew.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cairn/convert.h"
#include "format/facts.h"
#include "lib/edit/transfer.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/os/file.h"

namespace cairn::internal {

// All files of a checkpoint, open since one moment: what others do to their names from then on
// changes nothing of them.
struct CheckpointSnapshot {
  Location location;
  IndexIdentities seen;
  std::vector<std::string> warnings;

  // Of a safetensors file, or of a V1 checkpoint in one file: that file. Else nothing.
  std::optional<os::File> file;

  // Of a prefix.
  std::optional<Parts> parts;          // its shards, and behind them those that are `idle`
  bool own_index = false;              // P.cairn speaks for it
  std::optional<os::File> index_file;  // P.index
  std::optional<os::Bytes> index_bytes;
  std::vector<std::string> idle;           // shards that the indexes count, and no tensor lies in
  std::optional<std::size_t> safetensors;  // the shard that P.safetensors is another name of

  std::optional<os::File> graph;  // P.meta
};

// One attempt. Errors: those of load; Busy: it was written anew between two looks; Unsupported: a
// V1 checkpoint in several files, which no one step could publish.
Result<CheckpointSnapshot> open_snapshot(Location location, bool follow_links,
                                         OpenAttempt& attempt);

// Where it goes: `to`, or where that is a directory, under its own name into it. Invalid: `to` is
// no name for files, or the checkpoint lies there already.
Result<Destination> destination_of(const Location& source, const std::filesystem::path& to);

// The directories that a transfer makes for its target: those that are not there yet. They go
// again, as far as they are empty, unless keep() is said.
class NewDirectories {
 public:
  explicit NewDirectories(const std::filesystem::path& to);
  NewDirectories(const NewDirectories&) = delete;
  NewDirectories& operator=(const NewDirectories&) = delete;
  ~NewDirectories();
  void keep() noexcept { missing_.clear(); }

 private:
  std::vector<std::filesystem::path> missing_;  // the deepest first
};

// Whether the checkpoint keeps its files, under other names, or gets files of its own.
enum class TransferMode : std::uint8_t {
  Copy,  // shares no file with the source (Link::Auto: blocks at most), every byte compared
  Move,  // the very files where they can be linked, else as Copy
};

struct RelocateOptions {
  TransferMode how{};
  std::function<Result<void>()> unchanged;  // asked before it is published; empty: nothing to ask
  std::function<Result<Lock>(const Target&)> hold;  // as LinkedCheckpoint's
};

// Publishes it there, durably. Adds to `transfer`. Errors: Exists (without `replace`); Corrupt: a
// byte that was copied differs from its sum; those of publish_elsewhere.
Result<void> publish_snapshot(const CheckpointSnapshot& snapshot, const Destination& to,
                              const RelocateOptions& relocation, const TransferOptions& options,
                              Transfer& transfer);

// The base whose lock is that of the checkpoint.
std::string lock_base(const Location& location);

}  // namespace cairn::internal
