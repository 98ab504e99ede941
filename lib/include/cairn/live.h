#pragma once

// A server's model that is replaced while requests use it.
//
//     auto live = cairn::Live::open("saved", {.prepare = warm_up});
//     std::jthread reload([&](std::stop_token stop) { live->run(stop); });
//     …
//     const cairn::Snapshot snapshot = live->current();  // in each request: never waits
//     if (!snapshot) return not_ready();
//     answer(request, snapshot.checkpoint());
//
// Live follows a path. It opens each new checkpoint, compares every byte with its checksum, brings
// the pages into memory, asks the server, and then publishes it: from that moment on current()
// returns the new one. A request that has a snapshot keeps its checkpoint until it lets the
// snapshot go. So no request waits, and none sees two checkpoints.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/events.h"
#include "cairn/export.h"
#include "cairn/tensor.h"

namespace cairn {

namespace internal {
struct Generation;
}

struct LiveOptions {
  // What each checkpoint must have, else it is rejected. If `expected` is empty and same_tensors is
  // true: the names, dtypes and shapes of the current checkpoint; the first one may have any.
  std::vector<TensorSpec> expected = {};
  std::optional<Digest128> expected_digest = {};  // as in OpenOptions
  bool same_tensors = true;

  // Called before a checkpoint is published, by the thread that polls. What the server makes of the
  // checkpoint is made here: spans, a session of an engine; warm-up runs here. The result, which
  // may be nullptr, is Snapshot::model(), and goes before the checkpoint. An Error rejects the
  // checkpoint, but after Busy and OutOfMemory it is tried again. It must not call poll() or run().
  std::function<Result<std::shared_ptr<void>>(const Checkpoint&)> prepare = {};

  // How fast bytes are read and checked. 0: no limit.
  std::uint64_t bytes_per_second_max = 100'000'000;
  // A checkpoint of more bytes is checked and mapped, but not populated: its pages come when they
  // are touched, and LiveStatus::warnings says so. std::nullopt: what fits beside the current one
  // into the memory that the machine and the cgroup have available.
  std::optional<std::uint64_t> populate_bytes_max = {};
  std::chrono::milliseconds poll{1000};  // how often to look at the path
  bool follow_links = false;             // as in OpenOptions
  // As in OpenOptions; and Skipped (rejected), Published, RolledBack.
  EventListener on_event = {};
};

// A checkpoint that was published, and what `prepare` made of it. Copies share both.
//
// Lifetime: Tensors, views and the model are valid as long as a copy of the Snapshot lives. Keep
// one for as long as a request runs, and not a copy of its Checkpoint: then Live knows when nobody
// needs the pages any more, and gives them back in poll(), not in a request. Threads: as a
// shared_ptr: a Snapshot object belongs to one thread at a time, its copies to any.
class CAIRN_API Snapshot {
 public:
  Snapshot() noexcept = default;  // none
  explicit operator bool() const noexcept { return generation_ != nullptr; }

  // What follows needs a Snapshot that is not empty; else the program aborts.

  const Checkpoint& checkpoint() const& noexcept;
  const Checkpoint& checkpoint() const&& noexcept = delete;

  // 1 for the first checkpoint that was published, then 2, and so on. After rollback() that of the
  // earlier one is current again.
  std::uint64_t generation() const noexcept;

  // Checkpoint::digest(), computed once.
  const std::optional<Digest128>& digest() const& noexcept;
  const std::optional<Digest128>& digest() const&& noexcept = delete;

  // What LiveOptions::prepare returned, of the type that it made; nullptr: nothing. Threads use it
  // at the same time.
  template <class T>
  T* model() const& noexcept {
    return static_cast<T*>(any_model());
  }
  template <class T>
  T* model() const&& noexcept = delete;

  Snapshot(const Snapshot& other) noexcept;
  Snapshot(Snapshot&& other) noexcept;
  Snapshot& operator=(Snapshot other) noexcept;
  ~Snapshot();

 private:
  friend class Live;
  explicit Snapshot(internal::Generation* generation) noexcept : generation_(generation) {}
  void* any_model() const noexcept;

  internal::Generation* generation_ = nullptr;
};

// What Live does at present.
enum class LiveState : std::uint8_t { Idle, Opening, Checking, Populating, Preparing };

// "idle", "opening", and so on.
CAIRN_API std::string_view name(LiveState state) noexcept;

// A file as it was when it was looked at.
struct SeenFile {
  std::string path;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
  friend bool operator==(const SeenFile&, const SeenFile&) = default;
};

// A checkpoint that is not published, as long as its files stay as they are.
struct QuarantinedCheckpoint {
  std::filesystem::path prefix;
  Code code{};
  std::string why;                  // one sentence
  std::optional<Digest128> digest;  // of the checkpoint, if it could be opened and has one
  std::vector<SeenFile> files;      // its identity
  std::chrono::system_clock::time_point since;
};

// How long the last swap took.
struct SwapTimes {
  std::chrono::nanoseconds open{0};
  std::chrono::nanoseconds check{0};     // with the pauses that the limit asks for
  std::chrono::nanoseconds populate{0};  // the same
  std::chrono::nanoseconds prepare{0};
};

struct LiveStatus {
  LiveState state{};
  std::uint64_t generation = 0;       // the current one; 0: none yet
  std::filesystem::path prefix;       // of it
  std::optional<Digest128> digest;    // of it
  std::vector<std::string> warnings;  // about it
  std::filesystem::path rollback;     // what rollback() would publish; empty: nothing

  std::filesystem::path candidate;  // what is brought in at present; empty: nothing
  std::uint64_t done_bytes = 0;     // of it, checked or populated
  std::uint64_t total_bytes = 0;

  std::uint64_t swap_count = 0;  // checkpoints that were published, without rollbacks
  std::uint64_t rejected_count = 0;
  std::uint64_t rollback_count = 0;
  std::uint64_t released_count = 0;  // earlier ones whose pages were given back
  std::uint64_t retired_count = 0;   // earlier ones that snapshots still hold
  std::uint64_t checked_bytes = 0;
  std::uint64_t populated_bytes = 0;
  SwapTimes last_swap;
  std::chrono::system_clock::time_point last_swap_at;

  std::vector<QuarantinedCheckpoint> quarantine;  // oldest first; at most 64
  std::string last_error;  // what is not about one checkpoint: a catalog that cannot be read
};

// The numbers of the status in the text format of Prometheus, with names that begin with
// "cairn_live_". Errors: OutOfMemory.
CAIRN_API Result<std::string> prometheus_text(const LiveStatus& status) noexcept;

// Follows what `path` leads to:
//
//   a directory with a catalog   the newest checkpoint that the catalog lists; those in between are
//                                left out. If the newest is in quarantine, the one before it, but
//                                nothing older than the current one
//   a prefix, a file, a model's  the checkpoint there, whenever it is saved again or replaced. It
//   directory                    is not new if it is only copied, touched, imported or pinned, and
//                                has checksums
//
// The path need not exist yet. What cannot be opened, is damaged, is not what was expected, is
// refused by `prepare`, or is removed before it is published, is rejected: it goes into quarantine,
// with the reason, and is not tried again until one of its files changes. The current checkpoint
// stays. So retention must keep a checkpoint for longer than it takes to read it at the limit. If a
// checkpoint shares files with the current one, bytes that were checked there are not read again.
//
// Live has no thread of its own. Either a thread of the caller's is in run(), or an event loop
// calls poll(). In run(), bytes are read and checked at idle priority of processor and disk, by a
// thread that run() starts and joins; mapping, `prepare` and publishing have the priority of the
// caller, because a thread that is preempted inside of them would hold a lock of the kernel that
// requests need, and because a thread without privileges cannot leave the idle priority. poll()
// works at the priority of the caller.
//
// Memory: the current checkpoint, the one for rollback(), and the one that is brought in are
// mapped. The page cache holds at most two of them in full: when a new one is brought in, the pages
// of the one for rollback() are given back, unless a snapshot holds it. Pages that another process
// maps stay.
//
// Threads: any; poll() and run() wait for one another, current() and status() for nobody that
// works.
class CAIRN_API Live {
 public:
  // Reads nothing yet: the first checkpoint is published by poll() or run(). Errors: Invalid
  // (`poll` is less than 1 ms or more than a day), OutOfMemory.
  static Result<Live> open(const std::filesystem::path& path,
                           const LiveOptions& options = {}) noexcept;

  // The checkpoint that is published; an empty Snapshot if there is none yet. Never waits: four
  // atomic operations, no loop.
  Snapshot current() const noexcept;

  // Works for about `budget`, at least one slice, and returns how long there is nothing to do. A
  // slice reads about 1 MiB, populates 256 KiB, or gives back 4 MiB. These are one slice as well,
  // however long they take: an open (it reads the index, and all of a V1 checkpoint), `prepare`,
  // the sums that an archive (.pt, .keras) stores itself, the end of what `prepare` made.
  std::chrono::milliseconds poll(std::chrono::milliseconds budget) noexcept;

  // Works and waits until stop is requested. inotify wakes it when the catalog or the file is
  // replaced.
  void run(std::stop_token stop) noexcept;

  // Publishes the checkpoint before the current one, and puts the current one into quarantine.
  // Reads its pages first, if they are no longer in memory. There is one checkpoint to go back to,
  // and none after a rollback. Errors: NotFound (there is none), Io (it cannot be read any more),
  // Busy (another one was published meanwhile).
  Result<void> rollback() noexcept;

  // Errors: OutOfMemory.
  Result<LiveStatus> status() const noexcept;

  Live(Live&&) noexcept;
  Live& operator=(Live&&) noexcept;
  // Snapshots may live on. run() must have returned.
  ~Live();

 private:
  class CAIRN_LOCAL State;
  explicit Live(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace cairn
