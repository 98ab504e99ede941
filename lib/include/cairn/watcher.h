#pragma once

// The Watcher: a process waits for the checkpoints that another one publishes.

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cairn/catalog.h"
#include "cairn/error.h"
#include "cairn/export.h"

namespace cairn {

struct WatcherOptions {
  // What a Watcher of this directory said by cursor(). Empty: begin with the oldest in the catalog.
  std::string cursor;
  // TensorFlow's checkpoints_iterator instead: the latest checkpoint only, see Watcher.
  bool only_latest = false;
  std::string latest_filename = "checkpoint";  // the catalog's name
  bool follow_links = false;                   // as in OpenOptions, of each checkpoint
  // How often to look where nothing wakes the Watcher, see Watcher.
  std::chrono::milliseconds poll{1000};
};

struct Published {
  std::optional<std::filesystem::path> prefix;  // nothing: the time is over
  std::vector<SkippedCheckpoint> skipped;       // since the last call, in the catalog's order
};

// Waits for checkpoints in one directory, which need not exist yet.
//
// A checkpoint is published when the catalog names it: what counts is the catalog, replaced or
// written in place, by the Saver, by TensorFlow or by another tool. Entries come in the catalog's
// order, oldest first, each once, and each is opened (its indexes, not its tensors) when its turn
// comes:
//
//   whole                       it is given. A prefix that is given a second time holds other
//                               tensors now: what counts as the same checkpoint are the names,
//                               shapes and checksums of its tensors, so that to copy, touch,
//                               import, pin or list it again is no news.
//   gone                        it was removed before its turn: skipped.
//   not whole, not the newest   skipped at once: its writer has gone on.
//   not whole, the newest       perhaps not whole yet (a copy is under way): looked at again, and
//                               skipped after ten times `poll`.
//
// An entry that was skipped and is whole later, while the catalog still lists it, is given
// then. What was published and removed between two looks, nobody can know of: call next() at least
// as often as the writer's retention lets go of checkpoints.
//
// With only_latest it answers as checkpoints_iterator does: what latest_checkpoint() gives, when
// that is another path than the last time. Those in between are skipped, a prefix that is saved
// again is not seen, wholeness is not looked at, and skipped stays empty.
//
// inotify wakes the Watcher, and it looks every 30 times `poll` even so. It looks once in `poll`
// where inotify tells nothing or not all: file systems that are not known to be local, a directory
// that is not there yet, no inotify instance left; and while the newest entry is not whole yet.
//
// Threads: it has none of its own, the caller's waits; one call at a time.
class CAIRN_API Watcher {
 public:
  // Errors: Invalid (a cursor that is none, or one of the other mode; a `poll` of less than 1 ms or
  // more than a day; a catalog's name with a slash, or one that is not a catalog's).
  static Result<Watcher> open(const std::filesystem::path& dir,
                              const WatcherOptions& options = {}) noexcept;

  // Gives the next checkpoint; waits for it at most `timeout`, and looks once in any case.
  // Errors: Cancelled (`stop` was asked for while waiting; nothing is lost); those of
  // get_checkpoint_state, when the catalog stays unreadable for ten times `poll` or until the time
  // is over: the next call tries again. Cost of a look: to read the catalog, and a few stat calls
  // for each entry; new entries are opened.
  Result<Published> next(std::chrono::milliseconds timeout, std::stop_token stop = {}) noexcept;

  // What has been given so far, as text for WatcherOptions::cursor: store it when the checkpoint
  // has been dealt with, and a later Watcher goes on behind it, whatever the catalog lists by then
  // and wherever the directory is (with only_latest it must have the same path). What was passed
  // over is not in it: a later Watcher names it again if it is still listed.
  // Lifetime: until the next call of next(). Size: a line for each entry of the catalog that was
  // given, and for at most 64 that have left it; with only_latest, one line.
  const std::string& cursor() const noexcept;

  Watcher(Watcher&&) noexcept;
  Watcher& operator=(Watcher&&) noexcept;
  ~Watcher();

 private:
  class CAIRN_LOCAL State;
  explicit Watcher(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace cairn
