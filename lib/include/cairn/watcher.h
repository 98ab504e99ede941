#pragma once

// The Watcher waits for checkpoints that another process publishes.

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cairn/catalog.h"
#include "cairn/error.h"
#include "cairn/events.h"
#include "cairn/export.h"

namespace cairn {

struct WatcherOptions {
  // A text that cursor() of a Watcher of this directory returned. Empty: begin with the oldest
  // checkpoint in the catalog.
  std::string cursor = {};
  // Behave as TensorFlow's checkpoints_iterator: return the latest checkpoint only, see Watcher.
  bool only_latest = false;
  std::string latest_filename = "checkpoint";  // the catalog's name
  bool follow_links = false;                   // as in OpenOptions, for each checkpoint
  // How often to look at the directory if no event wakes the Watcher, see Watcher.
  std::chrono::milliseconds poll{1000};
  // Skipped, for each checkpoint that next() leaves out, see Published::skipped. May be empty.
  EventListener on_event = {};
};

struct Published {
  std::optional<std::filesystem::path> prefix;  // std::nullopt: the timeout is over
  std::vector<SkippedCheckpoint> skipped;       // since the last call, in the order of the catalog
};

// Waits for checkpoints in one directory. The directory may be created later.
//
// A checkpoint is published when the catalog names it. The Saver, TensorFlow or another tool may
// replace the catalog or write it in place. The Watcher takes the entries in the order of the
// catalog, oldest first, each once, and opens each one (its indexes, not its tensors):
//
//   whole                       the Watcher returns it. If it returns a prefix a second time, the
//                               prefix has other tensors now. A checkpoint counts as the same if
//                               the names, shapes and checksums of its tensors are the same; so
//                               it is not returned again when it is copied, touched, imported,
//                               pinned or listed again.
//   gone                        skipped: it was removed before its turn.
//   not whole, not the newest   skipped at once: its writer has published a newer one.
//   not whole, the newest       looked at again, because a copy may still run; skipped after ten
//                               times `poll`.
//
// If a skipped entry becomes whole while the catalog still lists it, the Watcher returns it then.
// The Watcher cannot see a checkpoint that is published and removed between two looks: call next()
// at least as often as the writer's retention removes checkpoints.
//
// With only_latest, the Watcher behaves as checkpoints_iterator: it returns the result of
// latest_checkpoint() when the path is not the last one. It does not see the checkpoints in between
// or a prefix that is saved again, does not check that the checkpoint is whole, and leaves
// `skipped` empty.
//
// inotify wakes the Watcher; in addition it looks at the directory every 30 times `poll`. It looks
// once in `poll` if inotify reports nothing or not everything: the file system may not be local,
// the directory does not exist yet, or there is no inotify instance left. It also does so while the
// newest entry is not whole.
//
// Threads: one call at a time. The Watcher starts no thread; the thread of the caller waits.
class CAIRN_API Watcher {
 public:
  // Errors: Invalid (`cursor` is not a text of cursor(), or comes from the other mode; `poll` is
  // less than 1 ms or more than a day; the catalog's name contains a slash, or is a name that no
  // catalog may have).
  static Result<Watcher> open(const std::filesystem::path& dir,
                              const WatcherOptions& options = {}) noexcept;

  // Returns the next checkpoint. Waits at most `timeout` for it, and looks at the directory at
  // least once. Errors: Cancelled (a stop request during the wait; no checkpoint is lost); those of
  // get_checkpoint_state, if the catalog cannot be read for ten times `poll` or until the timeout
  // is over; the next call tries again. Cost of a look: reads the catalog, makes a few stat calls
  // for each entry, and opens new entries.
  Result<Published> next(std::chrono::milliseconds timeout, std::stop_token stop = {}) noexcept;

  // What the Watcher has returned so far, as a text for WatcherOptions::cursor. Store it after you
  // have processed the checkpoint: a later Watcher continues with the next one, also if the catalog
  // has changed or the directory has another path (with only_latest the path must be the same).
  // Skipped checkpoints are not in it: a later Watcher names them again if they are still listed.
  // Lifetime: until the next call of next(). Size: one line for each returned entry of the catalog,
  // and for at most 64 that have left it; with only_latest, one line.
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
