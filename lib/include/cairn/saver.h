#pragma once

// The Saver: one checkpoint after the other in a directory, the catalog kept, old ones let go of.

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

// A rule by which checkpoints stay. The functions make them; the fields are for looking.
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
  std::uint64_t count = 5;  // how many; of EverySteps: the number of steps
  double hours = 0;         // TensorFlow's keep_checkpoint_every_n_hours, 0: none; EveryDuration
  std::string metric;       // Best
  Order best = Order::Lowest;

  // TensorFlow's own algorithms, exactly: at most one checkpoint goes with each save (Saver), or as
  // many as it takes (Manager); what `keep_every_hours` preserves leaves the catalog and stays for
  // ever. The Manager's catalog has timestamps. Either stands alone in keep_any_of. Differences: 0
  // keeps and lists everything, where TensorFlow's Saver lists the latest alone; 0 hours preserve
  // nothing; and a process that is started anew goes on with the list and the grid of the one
  // before, where TensorFlow's forgets the list, the grid, or both.
  static Retention tensorflow_saver(std::uint64_t max_to_keep, double keep_every_hours = 0);
  static Retention tensorflow_manager(std::uint64_t max_to_keep, double keep_every_hours = 0);
  // Ours: a checkpoint stays, and stays in the catalog, as long as one rule says so.
  static Retention newest(std::uint64_t count);
  static Retention every_steps(std::uint64_t steps);  // the step is a multiple
  static Retention every_hours(double hours);  // the first, then each that is this much younger
  static Retention best_by(std::string metric, Order best, std::uint64_t count);
};

struct SaverOptions {
  // Empty: everything stays, and the catalog lists it all. The latest one always stays.
  std::vector<Retention> keep_any_of = {Retention::newest(5)};
  bool pad_step_number = false;                // m-00000007
  std::string latest_filename = "checkpoint";  // the catalog's name
  bool tensorflow_index = true;                // write P.index too
  // As in OpenOptions, of what the catalog lists and of what is pinned: a checkpoint whose index is
  // a link that leaves the directory is one of this directory's, not another's. Of such a one
  // retention removes the links, and nothing that they lead to.
  bool follow_links = false;
  // How long to wait for another writer. 0: not at all; max(): for ever. Who waits comes next.
  std::chrono::milliseconds lock_wait{30'000};
  std::uint64_t staging_bytes_max = 256u << 20;  // save_async: how much may be copied
  ExecOptions exec;  // of every save; a stop that is asked for here ends all that come after, too
  // Seconds since the epoch; empty: the system's clock. For tests and simulations.
  std::function<double()> clock;
};

// What goes along with one save.
struct SaveOptions {
  std::optional<std::int64_t> step;                     // the prefix is NAME-STEP; nothing: NAME
  std::string meta_graph;                               // bytes of P.meta; empty: none
  std::vector<std::pair<std::string, double>> metrics;  // for Retention::best_by
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<std::pair<std::string, std::string>> safetensors_metadata;  // as in WriterOptions
  bool pinned = false;                                                    // never to be let go of
  // A checkpoint of this name is there, and a tensor of it would go, or become another dtype or
  // shape, where an index that cannot be read hides which they are, or where a V1 checkpoint has
  // the name. True: it is replaced, and warnings say so; false: Exists, in a sentence that names
  // them.
  bool replace = true;
  // The checkpoint whose tensors are saved again. Where it lies under this save's prefix itself,
  // the save is Busy, and nothing has changed, if another has published there since it was opened.
  std::optional<Checkpoint> read_from;
  std::optional<ExecOptions> exec;  // of this save, instead of SaverOptions::work
};

// A tensor with its bytes, as Writer::write takes them; of a String tensor `strings`, its elements.
struct NamedTensor {
  TensorSpec spec;
  std::span<const std::byte> bytes;
  std::span<const std::string_view> strings;
};

struct Saved {
  std::filesystem::path prefix;
  std::vector<std::filesystem::path> kept;  // what the catalog lists now, oldest first
  std::vector<std::filesystem::path> deleted;
  std::vector<std::string> warnings;  // such as: what was done for one that died
};

// What retention says of one checkpoint of the directory.
struct RetentionDecision {
  std::filesystem::path prefix;
  bool kept = false;
  std::string why;  // one sentence
};

// A save under way behind the caller's back. Copies are the same save. To let all of them go does
// not cancel it: the Saver waits for it.
class CAIRN_API PendingSave {
 public:
  // Whether wait() would return at once. Threads: any.
  bool done() const noexcept;
  // Returns when the checkpoint is durable, or will not be. Every call gives the same answer.
  // Errors: those of Saver::save. Threads: any.
  Result<Saved> wait() const noexcept;

 private:
  friend class Saver;
  class CAIRN_LOCAL State;
  explicit PendingSave(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
};

// Saves into one directory.
//
// The Saver remembers nothing: which checkpoints there are, when they were saved, what is pinned
// and what was preserved is read from the directory at each save, so that a process that was
// started anew, a second one, and TensorFlow may take turns. What TensorFlow, which knows no lock,
// lists while a save is under way stays listed. What another catalog of the directory lists
// (latest_filename) leaves this one by the rules, but its files stay, and a warning says so. While
// nobody can say what another one lists, since it is damaged or cannot be read, nothing leaves. As
// a pinned one, and with a warning, stays what a symbolic link of the directory leads to, as long
// as the link stays, and one whose P.cairn cannot be read, since nobody knows whether it is pinned.
// While it writes, a Saver holds the directory's lock (the file .cairn-lock): a second writer waits
// `lock_wait`, then gets Busy, in a sentence that names the holder. The lock dies with its process.
// Readers need no lock.
// What was opened is saved into: after chdir, or when the directory was renamed, or its path leads
// elsewhere by now, the checkpoints, the catalog and the removals stay together in it, paths come
// back as they were given, and each save says in a warning where the directory is.
// Threads: one call at a time, but PendingSave. A forked child must not use the Saver.
class CAIRN_API Saver {
 public:
  // Creates the directory where it is missing, and opens it: it stays this Saver's, whatever
  // becomes of its path. Errors: Invalid (rules that contradict each other; a catalog's name with a
  // slash, or one that a checkpoint's file or one of Cairn's has), Io.
  static Result<Saver> open(const std::filesystem::path& dir,
                            const SaverOptions& options = {}) noexcept;

  // Writes the checkpoint dir/NAME-STEP, then the catalog, then removes what retention lets go of.
  // When it returns, the checkpoint survives a power cut. What a save that died has left behind is
  // finished or removed first. Errors: Invalid (a name with a slash, or the catalog's), Busy,
  // Exists (without `replace`), those of Writer; an error of an asynchronous save that nobody has
  // waited for: then this one has not begun.
  Result<Saved> save(std::string_view name, std::span<const NamedTensor> tensors,
                     const SaveOptions& options = {}) noexcept;

  // The same for what is not in memory, tied, or encoded: `fill` is called once and gives every
  // tensor its bytes, in pieces of any size. Memory: what `fill` holds. An Error of `fill` ends the
  // save, and the checkpoints and the catalog are as before.
  using Fill = std::function<Result<void>(Writer&)>;
  Result<Saved> save(std::string_view name, std::vector<TensorSpec> specs, const Fill& fill,
                     const SaveOptions& options = {}) noexcept;

  // Begins a save in one thread of its own. Copy: copies as many tensors as staging_bytes_max
  // holds, and returns when the others, if there are any, have been written (not yet synced): from
  // then on all may change. Never longer than save() takes. Borrow: returns at once, and the bytes
  // must stay as they are until the PendingSave is done. One save is under way at a time: the next
  // call of save, save_async, pin or prune waits for it. Errors: Invalid, Busy, OutOfMemory (no
  // thread is to be had: save() needs none), and that of the one before, which nobody has waited
  // for.
  enum class Memory : std::uint8_t { Copy, Borrow };
  Result<PendingSave> save_async(std::string_view name, std::span<const NamedTensor> tensors,
                                 Memory memory, const SaveOptions& options = {}) noexcept;

  // The prefixes that the catalog lists, oldest first; none where there is no catalog.
  Result<std::vector<std::filesystem::path>> last_checkpoints() const noexcept;

  // Marks a checkpoint of this directory as never to be let go of, or takes the mark away; it
  // stands in P.cairn, which a checkpoint of TensorFlow's gets for that. TensorFlow does not heed
  // it. Errors: Busy, NotFound, those of import_index.
  Result<void> pin(const std::filesystem::path& prefix, bool pinned = true) noexcept;

  // Says of every checkpoint in the directory whether it stays, and why, oldest first; unless
  // `dry_run`, removes those that do not; on a full disk too, as remove_checkpoint. Errors: Busy,
  // Io, NoSpace (says what to free).
  Result<std::vector<RetentionDecision>> prune(bool dry_run) noexcept;

  // What the last call of pin() or prune() has to say beside its answer: what it finished for a
  // process that died, that the directory's path leads elsewhere by now, that a P.cairn which
  // outlived its checkpoint went. Lifetime: until the next call.
  std::span<const std::string> warnings() const noexcept;

  Saver(Saver&&) noexcept;
  Saver& operator=(Saver&&) noexcept;
  ~Saver();  // waits for a save that is under way

 private:
  class CAIRN_LOCAL State;
  explicit Saver(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace cairn
