#pragma once

// A server's model that is replaced while requests use it. cairn/live.h has the details.

#include "cairn/c/checkpoint.h"
#include "cairn/c/error.h"
#include "cairn/c/export.h"

CAIRN_C_BEGIN

// What a cairn_live follows, and what it asks.
typedef struct cairn_live_options {
  size_t struct_size;
  // What each checkpoint must have. None: the names, dtypes and shapes of the current one, unless
  // `any_tensors` is 1.
  const cairn_tensor_spec* expected;
  size_t expected_count;
  const uint8_t* expected_digest;  // NULL, or 16 bytes: as in cairn_open_options
  // Called before a checkpoint is published, by the thread that polls. What it stores in `model`
  // goes with the checkpoint. If it returns another code than CAIRN_OK, the checkpoint is rejected,
  // with the message of `*error`, if it sets that (cairn_error_new()). NULL: there is no model.
  cairn_code (*prepare)(void* context, const cairn_checkpoint* checkpoint, void** model,
                        cairn_error** error);
  // Ends a model that `prepare` made, when no snapshot has it any more. NULL: nothing is to be
  // done.
  void (*free_model)(void* context, void* model);
  void* context;                  // of both
  uint64_t bytes_per_second_max;  // 0: 100 MB/s; UINT64_MAX: no limit
  uint64_t populate_bytes_max;    // larger ones are mapped and not populated; 0: what memory allows
  int64_t poll_ms;                // how often to look at the path; 0: 1000
  int32_t any_tensors;            // 1: the checkpoints may differ in names, dtypes and shapes
  int32_t follow_links;           // as in cairn_open_options
} cairn_live_options;
CAIRN_C_INIT(cairn_live_options)

// Follows a directory with a catalog, a prefix or a file: opens each new checkpoint, compares every
// byte, brings it into memory, asks `prepare`, and publishes it. What is not whole or not expected
// goes into quarantine, until one of its files changes, and the current checkpoint stays. Threads:
// all functions from any; cairn_live_current() and cairn_live_get_status() wait for nobody that
// works.
typedef struct cairn_live cairn_live;

// A checkpoint that was published, and its model, as long as it is not ended.
typedef struct cairn_snapshot cairn_snapshot;

// Begins to follow `path`, which need not exist yet. Reads nothing. `options` may be NULL. Errors:
// Invalid (`poll_ms` is less than 0, or more than a day).
CAIRN_C_API cairn_code cairn_live_open(const char* path, const cairn_live_options* options,
                                       cairn_live** live, cairn_error** error);

// Ends it. Snapshots may live on; their models end with them. cairn_live_run() must have returned.
CAIRN_C_API void cairn_live_free(cairn_live* live);

// Works for about `budget_ms`, at least one slice, and returns for how many milliseconds there is
// nothing to do.
CAIRN_C_API int64_t cairn_live_poll(cairn_live* live, int64_t budget_ms);

// Works and waits until `stop` is requested; NULL: for ever. Reads and checks in the time that
// others leave, by a thread that ends before the call returns.
CAIRN_C_API void cairn_live_run(cairn_live* live, const cairn_stop* stop);

// Gives the checkpoint that is published; NULL if there is none yet. Never waits for one who polls.
// Errors: OutOfMemory.
CAIRN_C_API cairn_code cairn_live_current(const cairn_live* live, cairn_snapshot** snapshot,
                                          cairn_error** error);

// Publishes the checkpoint before the current one again, and puts the current one into quarantine.
// Errors: NotFound (there is none), Io (it cannot be read), Busy (another one was published
// meanwhile).
CAIRN_C_API cairn_code cairn_live_rollback(cairn_live* live, cairn_error** error);

// Ends a snapshot: what points into its checkpoint, and its model, are no longer valid.
CAIRN_C_API void cairn_snapshot_free(cairn_snapshot* snapshot);

// The checkpoint of a snapshot. Lifetime: that of the snapshot. Do not end it.
CAIRN_C_API const cairn_checkpoint* cairn_snapshot_checkpoint(const cairn_snapshot* snapshot);

// 1 for the first checkpoint that was published, then 2, and so on.
CAIRN_C_API uint64_t cairn_snapshot_generation(const cairn_snapshot* snapshot);

// What `prepare` stored; NULL: nothing. Lifetime: that of the snapshot.
CAIRN_C_API void* cairn_snapshot_model(const cairn_snapshot* snapshot);

// What is done at present.
typedef enum cairn_live_state {
  CAIRN_LIVE_IDLE = 0,
  CAIRN_LIVE_OPENING = 1,
  CAIRN_LIVE_CHECKING = 2,
  CAIRN_LIVE_POPULATING = 3,
  CAIRN_LIVE_PREPARING = 4
} cairn_live_state;

// A checkpoint that is not published, as long as its files stay as they are.
typedef struct cairn_quarantined_checkpoint {
  cairn_string prefix;
  cairn_string why;  // one sentence
  cairn_code code;
  uint32_t reserved;
} cairn_quarantined_checkpoint;

// What a cairn_live has done and does.
typedef struct cairn_live_status {
  cairn_string prefix;     // the current one; empty: none yet
  cairn_string rollback;   // what cairn_live_rollback() would publish; empty: nothing
  cairn_string candidate;  // what is brought in at present; empty: nothing
  cairn_string last_error;
  uint64_t generation;  // the current one; 0: none yet
  uint64_t done_bytes;  // of the candidate
  uint64_t total_bytes;
  uint64_t swap_count;
  uint64_t rejected_count;
  uint64_t rollback_count;
  uint64_t released_count;  // earlier ones whose pages were given back
  uint64_t retired_count;   // earlier ones that snapshots still hold
  uint64_t checked_bytes;
  uint64_t populated_bytes;
  const cairn_string* warnings;  // about the current one
  size_t warnings_count;
  const cairn_quarantined_checkpoint* const* quarantine;  // oldest first
  size_t quarantine_count;
  cairn_live_state state;
  uint32_t reserved;
} cairn_live_status;

// Gives the status. Errors: OutOfMemory.
CAIRN_C_API cairn_code cairn_live_get_status(const cairn_live* live, cairn_live_status** status,
                                             cairn_error** error);

CAIRN_C_API void cairn_live_status_free(cairn_live_status* status);  // Ends a result.

// Gives the numbers of the status in the text format of Prometheus. End it with cairn_text_free().
// Errors: OutOfMemory.
CAIRN_C_API cairn_code cairn_live_prometheus(const cairn_live* live, char** text,
                                             cairn_error** error);

CAIRN_C_END
