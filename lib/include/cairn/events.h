#pragma once

// What a server logs and counts about the checkpoints that it opens.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "cairn/export.h"

namespace cairn {

enum class EventKind : std::uint8_t {
  Opened,     // open or restore has succeeded. bytes: of the shards
  Failed,     // open or restore has failed. message: the error
  Warning,    // one of Checkpoint::warnings(). message: the warning
  Checked,    // Verify::Full, restore, verify() or a Live has compared bytes with checksums. bytes:
              // so many
  Damaged,    // bytes are not what was stored, found by any check. tensor, bytes: where, how many
  Skipped,    // the Watcher has left out a checkpoint, or a Live has rejected it. message: why
  Published,  // a Live has published a checkpoint. bytes: of the shards
  RolledBack,  // a Live has put this checkpoint into quarantine, and published the one before
};

// "opened", "failed", and so on.
CAIRN_API std::string_view name(EventKind kind) noexcept;

struct Event {
  EventKind kind{};
  std::string_view path;     // the checkpoint, as it was given to open()
  std::string_view message;  // a sentence; empty: there is nothing to say but the kind
  std::string_view tensor;   // of Damaged; empty: the header of a shard, or padding
  std::uint64_t bytes = 0;
  std::chrono::nanoseconds duration{0};  // of Opened, Failed, Checked and Published
};

// Called in the call that it is about, on the thread that makes the call, or that finds the damage:
// so it must be safe to call from several threads if several use the checkpoint. The Checkpoint
// keeps a copy. Lifetime: the texts of the event live until the function returns. It must not
// throw: an exception ends the program. It may use other checkpoints, and must be quick: the call
// waits for it.
using EventListener = std::function<void(const Event&)>;

}  // namespace cairn
