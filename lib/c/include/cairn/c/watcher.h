#pragma once

// The Watcher waits for checkpoints that another process publishes.

#include "cairn/c/catalog.h"

CAIRN_C_BEGIN

// What a Watcher waits for.
typedef struct cairn_watcher_options {
  size_t struct_size;
  // A text that cairn_watcher_cursor() of a Watcher of this directory returned. Empty: begin with
  // the oldest checkpoint in the catalog.
  cairn_string cursor;
  const char* latest_filename;  // the catalog's name; NULL: "checkpoint"
  // How often to look at the directory if no event wakes the Watcher, in milliseconds, at most a
  // day. 0: 1000.
  int64_t poll_ms;
  int32_t only_latest;   // 1: as TensorFlow's checkpoints_iterator, the latest checkpoint only
  int32_t follow_links;  // as in cairn_open_options, for each checkpoint
} cairn_watcher_options;
CAIRN_C_INIT(cairn_watcher_options)

// What a Watcher has found.
typedef struct cairn_published {
  cairn_string prefix;                             // `data` is NULL: the timeout is over
  const cairn_skipped_checkpoint* const* skipped;  // since the last call, oldest first
  size_t skipped_count;
} cairn_published;

CAIRN_C_API void cairn_published_free(cairn_published* published);  // Ends a result.

// Waits for checkpoints in one directory, which may be created later. It takes the entries of the
// catalog, oldest first, each once, and opens each one (its indexes, not its tensors). One that is
// not whole is skipped: at once if a newer one is there, else after ten times `poll_ms`. If it
// returns a prefix a second time, the prefix has other tensors now. cairn/watcher.h has the
// details. Threads: one call at a time. It starts no thread.
typedef struct cairn_watcher cairn_watcher;

// Opens a Watcher. `options` may be NULL. Errors: Invalid (`cursor` is not a text of a Watcher, or
// comes from the other mode; `poll_ms`; the catalog's name).
CAIRN_C_API cairn_code cairn_watcher_open(const char* dir, const cairn_watcher_options* options,
                                          cairn_watcher** watcher, cairn_error** error);

// Ends a Watcher.
CAIRN_C_API void cairn_watcher_free(cairn_watcher* watcher);

// Gives the next checkpoint. Waits at most `timeout_ms` for it, or CAIRN_WAIT_FOREVER, and looks at
// the directory at least once; less than 0 counts as 0. `stop` may be NULL. Errors: Cancelled (a
// stop request during the wait; no checkpoint is lost); those of cairn_get_checkpoint_state(), if
// the catalog cannot be read for ten times `poll_ms` or until the timeout is over; the next call
// tries again.
CAIRN_C_API cairn_code cairn_watcher_next(cairn_watcher* watcher, int64_t timeout_ms,
                                          const cairn_stop* stop, cairn_published** published,
                                          cairn_error** error);

// What the Watcher has returned so far, as a text for cairn_watcher_options::cursor. Store it after
// you have processed the checkpoint: a later Watcher continues with the next one. Lifetime: until
// the next cairn_watcher_next().
CAIRN_C_API cairn_string cairn_watcher_cursor(const cairn_watcher* watcher);

CAIRN_C_END
