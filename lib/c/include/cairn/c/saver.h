#pragma once

// The Saver writes one checkpoint after the other into a directory, keeps the catalog, and removes
// old checkpoints.

#include "cairn/c/writer.h"

CAIRN_C_BEGIN

// What a rule of retention keeps.
typedef enum cairn_retention_rule {
  CAIRN_KEEP_NEWEST = 0,             // the newest `count`
  CAIRN_KEEP_EVERY_STEPS = 1,        // those whose step is a multiple of `count`
  CAIRN_KEEP_EVERY_HOURS = 2,        // the first, then each that is `hours` younger
  CAIRN_KEEP_BEST = 3,               // the `count` best by `metric`
  CAIRN_KEEP_TENSORFLOW_SAVER = 4,   // as tf.compat.v1.train.Saver, exactly: `count`, `hours`
  CAIRN_KEEP_TENSORFLOW_MANAGER = 5  // as tf.train.CheckpointManager, exactly: `count`, `hours`
} cairn_retention_rule;

// Which of two metrics is better.
typedef enum cairn_order { CAIRN_LOWEST = 0, CAIRN_HIGHEST = 1 } cairn_order;

// A rule that says which checkpoints stay. A checkpoint stays, and stays in the catalog, as long as
// one rule keeps it. Each rule of TensorFlow's must be the only one.
typedef struct cairn_retention {
  size_t struct_size;
  cairn_retention_rule rule;
  cairn_order best;  // CAIRN_KEEP_BEST: whether the lowest or the highest values are best
  uint64_t count;
  double hours;         // TensorFlow's keep_checkpoint_every_n_hours; 0: none
  cairn_string metric;  // CAIRN_KEEP_BEST
} cairn_retention;
CAIRN_C_INIT(cairn_retention)

// What a Saver does.
typedef struct cairn_saver_options {
  size_t struct_size;
  // Which checkpoints stay. Empty: the newest five. The latest one always stays.
  const cairn_retention* keep_any_of;
  size_t keep_any_of_count;
  int32_t keep_all;             // 1: every checkpoint stays; keep_any_of must be empty
  int32_t pad_step_number;      // 1: m-00000007
  int32_t no_tensorflow_index;  // 1: write no P.index
  int32_t follow_links;         // as in cairn_open_options
  const char* latest_filename;  // the catalog's name; NULL: "checkpoint"
  int64_t lock_wait_ms;         // how long to wait for another writer; 0: 30 seconds
  uint64_t staging_bytes_max;   // how many bytes cairn_saver_save_async() may copy; 0: 4 GiB
  // For every save. What it points to must live as long as the Saver.
  const cairn_exec_options* exec;
  // Seconds since the epoch; NULL: the system's clock. For tests and simulations.
  double (*clock)(void* context);
  void* clock_context;
} cairn_saver_options;
CAIRN_C_INIT(cairn_saver_options)

// A number by which CAIRN_KEEP_BEST compares. This struct never changes.
typedef struct cairn_metric {
  cairn_string name;
  double value;
} cairn_metric;

// The options of one save.
typedef struct cairn_save_options {
  size_t struct_size;
  int64_t step;  // with has_step: the prefix is NAME-STEP; without: NAME
  int32_t has_step;
  int32_t pinned;  // 1: retention never removes the checkpoint
  // 1: if a checkpoint of this name exists and the save would lose something, the save returns
  // Exists. 0: it is replaced, and warnings name the loss.
  int32_t keep_existing;
  uint32_t reserved;
  const cairn_metric* metrics;
  size_t metrics_count;
  const cairn_key_value* metadata;
  size_t metadata_count;
  const cairn_key_value* safetensors_metadata;
  size_t safetensors_metadata_count;
  cairn_string meta_graph;            // bytes of P.meta; empty: none
  const cairn_checkpoint* read_from;  // as in cairn_writer_options
  const cairn_exec_options* exec;     // for this save, instead of the Saver's
} cairn_save_options;
CAIRN_C_INIT(cairn_save_options)

// A tensor and its bytes, row-major and little-endian. A String tensor has its elements in
// `strings` instead.
typedef struct cairn_named_tensor {
  size_t struct_size;
  const cairn_tensor_spec* spec;
  const void* bytes;
  size_t size_bytes;
  const cairn_string* strings;
  size_t strings_count;
} cairn_named_tensor;
CAIRN_C_INIT(cairn_named_tensor)

// The result of a save.
typedef struct cairn_saved {
  cairn_string prefix;
  const cairn_string* kept;  // the catalog's list now, oldest first
  size_t kept_count;
  const cairn_string* deleted;
  size_t deleted_count;
  const cairn_string* warnings;  // for example: the work of a dead process was finished
  size_t warnings_count;
} cairn_saved;

CAIRN_C_API void cairn_saved_free(cairn_saved* saved);  // Ends a result.

// Saves into one directory. It keeps no state between two saves, so a new process can continue, and
// several processes and TensorFlow can take turns. While it writes, it holds the directory's lock.
// Threads: one call at a time. A forked child must not use it.
typedef struct cairn_saver cairn_saver;

// Opens the directory, and creates it if it is missing. `options` may be NULL. Errors: Invalid
// (rules that contradict each other; the catalog's name contains a slash, or is a name that the
// file of a checkpoint or a file of Cairn's own has), Io.
CAIRN_C_API cairn_code cairn_saver_open(const char* dir, const cairn_saver_options* options,
                                        cairn_saver** saver, cairn_error** error);

// Ends a Saver, after a save that still runs.
CAIRN_C_API void cairn_saver_free(cairn_saver* saver);

// Writes the checkpoint dir/NAME-STEP, then the catalog, then removes the checkpoints that
// retention does not keep. When it returns, the checkpoint survives a power cut. `options` may be
// NULL, and `saved` too, if you do not want the result. Errors: Invalid (the name contains a slash,
// or is the catalog's), Busy, Exists (with `keep_existing`), those of the Writer. If an
// asynchronous save has failed and nobody has asked for its error, save returns that error and does
// not begin.
CAIRN_C_API cairn_code cairn_saver_save(cairn_saver* saver, const char* name,
                                        const cairn_named_tensor* tensors, size_t count,
                                        const cairn_save_options* options, cairn_saved** saved,
                                        cairn_error** error);

// Gives the bytes of tensors that are not in memory, tied or encoded. It must give every tensor its
// bytes through `writer`, which it may neither commit nor free. To fail, it returns a code other
// than CAIRN_OK, and may set `error` to an error that a function gave or cairn_error_new() made;
// the library frees it.
typedef cairn_code (*cairn_fill)(void* context, cairn_writer* writer, cairn_error** error);

// The same as cairn_saver_save() for tensors that `fill` gives. The save calls `fill` once. An
// error of `fill` ends the save and is its error; checkpoints and catalog do not change.
CAIRN_C_API cairn_code cairn_saver_save_filled(cairn_saver* saver, const char* name,
                                               const cairn_tensor_spec* specs, size_t count,
                                               cairn_fill fill, void* context,
                                               const cairn_save_options* options,
                                               cairn_saved** saved, cairn_error** error);

// What happens to the caller's bytes in a save that runs in the background.
typedef enum cairn_memory {
  CAIRN_MEMORY_COPY = 0,   // afterwards the caller may change all bytes. The call copies them into
                           // memory that the Saver keeps until it is freed: at most
                           // staging_bytes_max, and at most half of what machine and cgroup have
                           // available when it grows. It waits until the others are written
  CAIRN_MEMORY_BORROW = 1  // returns at once; the bytes must not change until the save is done
} cairn_memory;

// A save that runs in the background.
typedef struct cairn_pending_save cairn_pending_save;

// Begins a save in a thread of its own, which writes and sums at idle priority for up to ten
// seconds. One save runs at a time: the next call of the Saver waits for it. The first save, and
// one that needs more memory for copies than those before, also waits for the kernel to clear that.
// `progress` is called by that thread, and `progress_context` must live until the save is
// done. Errors: Invalid, Busy, OutOfMemory (no thread can be started), and the error of the
// previous asynchronous save, if nobody has asked for it.
CAIRN_C_API cairn_code cairn_saver_save_async(cairn_saver* saver, const char* name,
                                              const cairn_named_tensor* tensors, size_t count,
                                              cairn_memory memory,
                                              const cairn_save_options* options,
                                              cairn_pending_save** pending, cairn_error** error);

// Whether cairn_pending_save_wait() would return at once. Threads: any.
CAIRN_C_API bool cairn_pending_save_done(const cairn_pending_save* pending);

// Waits until the save has ended. Every call gives the same result; `saved` may be NULL. Errors:
// those of cairn_saver_save(). Threads: any.
CAIRN_C_API cairn_code cairn_pending_save_wait(const cairn_pending_save* pending,
                                               cairn_saved** saved, cairn_error** error);

// Ends the handle. The save continues, and the Saver waits for it.
CAIRN_C_API void cairn_pending_save_free(cairn_pending_save* pending);

// Gives the prefixes that the catalog lists, oldest first; none if there is no catalog. Errors:
// Corrupt (the catalog), Io.
CAIRN_C_API cairn_code cairn_saver_last_checkpoints(const cairn_saver* saver,
                                                    cairn_strings** prefixes, cairn_error** error);

// Pins a checkpoint of this directory, so that retention never removes it, or unpins it. A
// checkpoint of TensorFlow's gets a P.cairn for it. Errors: Busy, NotFound, those of
// cairn_checkpoint_open(), Io, NoSpace.
CAIRN_C_API cairn_code cairn_saver_pin(cairn_saver* saver, const char* prefix, bool pinned,
                                       cairn_error** error);

// What retention decides about one checkpoint of the directory.
typedef struct cairn_retention_decision {
  cairn_string prefix;
  cairn_string why;  // the reason, one sentence
  int32_t kept;      // 0 or 1
  uint32_t reserved;
} cairn_retention_decision;

// The result of cairn_saver_prune(), oldest first.
typedef struct cairn_retention_decisions {
  const cairn_retention_decision* const* decisions;
  size_t count;
} cairn_retention_decisions;

CAIRN_C_API void cairn_retention_decisions_free(cairn_retention_decisions* decisions);  // Ends it.

// Gives the decision about every checkpoint in the directory, and removes those that do not stay,
// unless `dry_run`. `decisions` may be NULL. Errors: Busy, Io, NoSpace (the message says what to
// free).
CAIRN_C_API cairn_code cairn_saver_prune(cairn_saver* saver, bool dry_run,
                                         cairn_retention_decisions** decisions,
                                         cairn_error** error);

// The count of warnings of the last cairn_saver_pin() or cairn_saver_prune().
CAIRN_C_API size_t cairn_saver_warning_count(const cairn_saver* saver);

// The warning at a position, which must be less than the count, else the program aborts. Lifetime:
// until the next call.
CAIRN_C_API cairn_string cairn_saver_warning_at(const cairn_saver* saver, size_t position);

CAIRN_C_END
