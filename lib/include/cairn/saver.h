#pragma once

// The Saver writes one checkpoint after the other into a directory, keeps the catalog, and removes
// old checkpoints.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"
#include "cairn/tensor.h"
#include "cairn/writer.h"

namespace cairn {

// A rule that says which checkpoints stay. Make a rule with the functions below; the fields can be
// read.
struct CAIRN_API Retention {
  enum class Rule : std::uint8_t {
    TensorFlowSaver,    // tf.compat.v1.train.Saver
    TensorFlowManager,  // tf.train.CheckpointManager
    Newest,
    EverySteps,
    EveryDuration,
    Best,
  };
  enum class Order : std::uint8_t { Lowest, Highest };

  Rule rule = Rule::Newest;
  std::uint64_t count = 5;  // how many checkpoints; for EverySteps: the number of steps
  double hours = 0;         // EveryDuration; keep_checkpoint_every_n_hours of TensorFlow, 0: none
  std::string metric;       // Best
  Order best = Order::Lowest;

  // The algorithms of TensorFlow, exactly. With each save the Saver's rule removes at most one
  // checkpoint, the Manager's rule as many as necessary. A checkpoint that `keep_every_hours`
  // preserves leaves the catalog and stays for ever. The Manager's catalog has timestamps. Each of
  // these rules must be the only one in keep_any_of. Differences from TensorFlow:
  // - max_to_keep 0 keeps and lists everything; TensorFlow's Saver lists the latest only;
  // - 0 hours preserve nothing;
  // - a new process continues with the list and the time grid of the previous one; TensorFlow's
  //   forgets the list, the grid, or both.
  static Retention tensorflow_saver(std::uint64_t max_to_keep, double keep_every_hours = 0);
  static Retention tensorflow_manager(std::uint64_t max_to_keep, double keep_every_hours = 0);
  // Cairn's rules. A checkpoint stays, and stays in the catalog, as long as one rule keeps it.
  static Retention newest(std::uint64_t count);
  static Retention every_steps(std::uint64_t steps);  // those whose step is a multiple
  static Retention every_hours(double hours);  // the first, then each that is this much younger
  static Retention best_by(std::string metric, Order best, std::uint64_t count);
};

struct SaverOptions {
  // Empty: every checkpoint stays, and the catalog lists all. The latest one always stays.
  std::vector<Retention> keep_any_of = {Retention::newest(5)};
  bool pad_step_number = false;                // m-00000007
  std::string latest_filename = "checkpoint";  // the catalog's name
  bool tensorflow_index = true;                // write P.index too
  // As in OpenOptions, for the checkpoints that the catalog lists and those that are pinned. True:
  // a checkpoint whose index is a link to another directory belongs to this directory. Retention
  // removes the links of such a checkpoint, and not their targets.
  bool follow_links = false;
  // How long to wait for another writer. 0: do not wait; max(): wait without a limit. The writer
  // that waits gets the lock next.
  std::chrono::milliseconds lock_wait{30'000};
  // save_async: how many bytes may be copied, and how long the save leaves processors and disk to
  // all others. Then it works at the priority of the caller; 0: at once. An executor's threads have
  // the priority that they have.
  std::uint64_t staging_bytes_max = std::uint64_t{4} << 30;
  std::chrono::milliseconds idle_max{10'000};
  bool incremental = false;      // SaveOptions::base is the latest checkpoint, if there is one
  std::uint64_t full_every = 0;  // then each N-th save writes everything, as the first; 0: none
  ExecOptions exec = {};         // for every save; a stop request here ends all later saves too
  // Seconds since the epoch; empty: the system's clock. For tests and simulations.
  std::function<double()> clock = {};
};

// The options of one save.
struct SaveOptions {
  std::optional<std::int64_t> step = {};  // the prefix is NAME-STEP; without: NAME
  std::string meta_graph = {};            // bytes of P.meta; empty: none
  std::vector<std::pair<std::string, double>> metrics = {};  // for Retention::best_by
  std::vector<std::pair<std::string, std::string>> metadata = {};
  std::vector<std::pair<std::string, std::string>> safetensors_metadata =
      {};               // as in WriterOptions
  bool pinned = false;  // retention never removes the checkpoint
  // Decides what happens if a checkpoint of this name exists and the save would lose something: a
  // tensor would disappear or change its dtype or shape, an index cannot be read, or it is a V1
  // checkpoint. True: it is replaced, and warnings name the loss. False: the save returns Exists,
  // and the message names the loss.
  bool replace = true;
  // The checkpoint whose tensors are saved again. If it has the prefix of this save, and another
  // process has published there since it was opened, the save returns Busy and changes nothing.
  std::optional<Checkpoint> read_from = {};
  // The save is incremental: tensors whose contents this checkpoint has are not written again; its
  // shards get hard links under the new prefix. Each tensor is hashed in memory; save() with `fill`
  // compares none. Empty: by SaverOptions::incremental.
  std::filesystem::path base = {};
  // Tensors with the contents of `base` by the caller's word. They are not compared and need no
  // bytes; `fill` must not write them. Invalid: there is no base, or no such tensor in it.
  std::vector<std::string> unchanged = {};
  bool verify_linked = false;  // compare the bytes with their checksums before they are shared
  std::optional<ExecOptions> exec = {};  // for this save, instead of SaverOptions::exec
};

// A tensor and its bytes, as in Writer::write. A String tensor has its elements in `strings`.
struct NamedTensor {
  TensorSpec spec = {};
  std::span<const std::byte> bytes = {};
  std::span<const std::string_view> strings = {};
};

struct Saved {
  std::filesystem::path prefix;
  std::vector<std::filesystem::path> kept;  // the catalog's list now, oldest first
  std::vector<std::filesystem::path> deleted;
  std::vector<std::string> warnings;  // for example: the work of a dead process was finished
  std::filesystem::path base;         // what it shares shards with; empty: nothing
  std::uint64_t written_bytes = 0;    // of new shards
  std::uint64_t shared_bytes = 0;     // of tensors in shards that have other names too
  std::uint64_t dead_bytes = 0;       // of those shards, and of none of its tensors
};

// What retention decides about one checkpoint of the directory.
struct RetentionDecision {
  std::filesystem::path prefix;
  bool kept = false;
  std::string why;  // the reason, one sentence
};

// A save that runs in the background. Copies of a PendingSave mean the same save. If all copies are
// destroyed, the save continues, and the Saver waits for it.
class CAIRN_API PendingSave {
 public:
  // Whether wait() would return at once. Threads: any.
  bool done() const noexcept;
  // Waits until the save has ended. The checkpoint is durable, or the save has failed. Every call
  // returns the same result. Errors: those of Saver::save. Threads: any.
  Result<Saved> wait() const noexcept;

 private:
  friend class Saver;
  class CAIRN_LOCAL State;
  explicit PendingSave(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
};

// Saves into one directory.
//
// - The Saver keeps no state between two saves. Each save reads from the directory which
//   checkpoints exist, when they were saved, and which are pinned or preserved. So a new process
//   can continue, and several processes and TensorFlow can take turns. TensorFlow takes no lock;
//   entries that it adds to the catalog during a save stay.
// - While it writes, a Saver holds the directory's lock (the file .cairn-lock). A second writer
//   waits `lock_wait`, then gets Busy; the message names the process that holds the lock. The lock
//   ends with its process. Readers need no lock.
// - Several catalogs may share the directory (latest_filename). A checkpoint that another catalog
//   lists can leave this catalog, but its files stay, and a warning says so. If another catalog is
//   damaged or cannot be read, retention removes nothing.
// - A checkpoint to which a symbolic link of the directory leads stays as long as the link exists,
//   and so does one whose P.cairn cannot be read (it may be pinned). Warnings say so.
// - The Saver continues to use the directory that it opened, also after chdir, after the directory
//   was renamed, or if its path leads to another directory now. Checkpoints and the catalog stay
//   together there, results have the path that was given, and each save warns where the directory
//   is.
//
// Threads: one call at a time, except PendingSave. A forked child must not use the Saver.
class CAIRN_API Saver {
 public:
  // Opens the directory, and creates it if it is missing. Errors: Invalid (rules that contradict
  // each other; the catalog's name contains a slash, or is a name that the file of a checkpoint or
  // a file of Cairn's own has), Io.
  static Result<Saver> open(const std::filesystem::path& dir,
                            const SaverOptions& options = {}) noexcept;

  // Writes the checkpoint dir/NAME-STEP, then the catalog, then removes the checkpoints that
  // retention does not keep. Before that, it finishes or rolls back the save of a dead process.
  // When it returns, the checkpoint survives a power cut. Errors: Invalid (the name contains a
  // slash, or is the catalog's), Busy, Exists (without `replace`), those of Writer. If an
  // asynchronous save has failed and no wait() has returned its error, save() returns that error
  // and does not begin.
  Result<Saved> save(std::string_view name, std::span<const NamedTensor> tensors,
                     const SaveOptions& options = {}) noexcept;

  // The same for tensors that are not in memory, tied or encoded. The save calls `fill` once; it
  // must give every tensor its bytes, in pieces of any size. An Error of `fill` ends the save;
  // checkpoints and catalog do not change. Memory: what `fill` holds.
  using Fill = std::function<Result<void>(Writer&)>;
  Result<Saved> save(std::string_view name, std::vector<TensorSpec> specs, const Fill& fill,
                     const SaveOptions& options = {}) noexcept;

  // Begins a save in a thread of its own.
  // - Copy: copies the tensors, on the threads that `exec` allows, and returns. From then on the
  //   caller may change all of them. What does not fit into the memory for copies is written first,
  //   from the caller's memory, while the call waits (not yet synced).
  // - Borrow: returns at once. The bytes must not change until the PendingSave is done.
  // The save writes, sums and hashes at idle priority (SCHED_IDLE), and in the idle class of the
  // disk where its scheduler has one, for idle_max at most: a program that computes on all cores
  // loses next to no time.
  // Memory: of Copy, the size of the tensors, but at most staging_bytes_max, and at most half of
  // what machine and cgroup have available when it grows. The Saver keeps it for the next save, and
  // gives it back when it is destroyed. Cost: of Copy, one copy of the bytes in memory; the first
  // save, and one that needs more memory than those before, also waits for the kernel to clear it.
  // One save runs at a time: the next call of save, save_async, pin or prune waits for it. Errors:
  // Invalid, Busy, OutOfMemory (also if no thread can be started; save() needs none), and the error
  // of the previous asynchronous save, if no wait() has returned it.
  enum class Memory : std::uint8_t { Copy, Borrow };
  Result<PendingSave> save_async(std::string_view name, std::span<const NamedTensor> tensors,
                                 Memory memory, const SaveOptions& options = {}) noexcept;

  // The prefixes that the catalog lists, oldest first; empty if there is no catalog.
  Result<std::vector<std::filesystem::path>> last_checkpoints() const noexcept;

  // Pins a checkpoint of this directory, so that retention never removes it, or unpins it. The pin
  // is stored in P.cairn; a checkpoint of TensorFlow's gets a P.cairn for it. TensorFlow ignores
  // the pin. Errors: Busy, NotFound, those of import_index.
  Result<void> pin(const std::filesystem::path& prefix, bool pinned = true) noexcept;

  // Returns the decision about every checkpoint in the directory, oldest first, and removes those
  // that do not stay, unless `dry_run`. Works on a full disk too, like remove_checkpoint. Errors:
  // Busy, Io, NoSpace (the message says what to free).
  Result<std::vector<RetentionDecision>> prune(bool dry_run) noexcept;

  // The warnings of the last call of pin() or prune(). Examples: it finished the work of a dead
  // process; the path of the directory leads to another directory now; it removed a P.cairn whose
  // checkpoint is gone. Lifetime: until the next call.
  std::span<const std::string> warnings() const noexcept;

  Saver(Saver&&) noexcept;
  Saver& operator=(Saver&&) noexcept;
  ~Saver();  // waits for a save that still runs

 private:
  class CAIRN_LOCAL State;
  explicit Saver(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace cairn
