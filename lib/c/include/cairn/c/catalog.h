#pragma once

// The catalog is the file `checkpoint` in a directory, as TensorFlow writes it: the list of
// checkpoints, oldest first, and the latest one.

#include "cairn/c/error.h"
#include "cairn/c/export.h"

CAIRN_C_BEGIN

// Which catalog, and how it is used.
typedef struct cairn_catalog_options {
  size_t struct_size;
  const char* latest_filename;  // the catalog's name; NULL: "checkpoint"
  int64_t lock_wait_ms;         // to write: how long to wait for another writer; 0: 30 seconds
  int32_t follow_links;         // as in cairn_open_options, where checkpoints are opened
  uint32_t reserved;
} cairn_catalog_options;
CAIRN_C_INIT(cairn_catalog_options)

// TensorFlow's CheckpointState. Paths are prefixes.
typedef struct cairn_checkpoint_state {
  cairn_string model_checkpoint_path;              // the latest
  const cairn_string* all_model_checkpoint_paths;  // oldest first, the latest last
  size_t all_model_checkpoint_paths_count;
  const double* all_model_checkpoint_timestamps_s;  // NULL, or one for each path
  double last_preserved_timestamp_s;
} cairn_checkpoint_state;

// Gives the catalog of `dir`; NULL if there is none. Relative paths are joined to `dir`. `options`
// may be NULL, as for every function here. Errors: Corrupt (the file is no catalog, or it names no
// latest checkpoint), Invalid (the catalog's name), Io.
CAIRN_C_API cairn_code cairn_get_checkpoint_state(const char* dir,
                                                  const cairn_catalog_options* options,
                                                  cairn_checkpoint_state** state,
                                                  cairn_error** error);

CAIRN_C_API void cairn_checkpoint_state_free(cairn_checkpoint_state* state);  // Ends a result.

// A catalog to write.
typedef struct cairn_new_checkpoint_state {
  size_t struct_size;
  const char* model_checkpoint_path;              // the latest
  const char* const* all_model_checkpoint_paths;  // oldest first
  size_t all_model_checkpoint_paths_count;
  const double* all_model_checkpoint_timestamps_s;  // NULL, or one for each path
  double last_preserved_timestamp_s;
} cairn_new_checkpoint_state;
CAIRN_C_INIT(cairn_new_checkpoint_state)

// Replaces the catalog of `dir` durably, with TensorFlow's rules for paths. The latest checkpoint
// is added to the list if it is not there. Holds the directory's lock. Errors: Busy, Invalid (no
// latest checkpoint; a path that is not UTF-8), NotFound (no such directory), Unsupported (no
// locks), Io, NoSpace.
CAIRN_C_API cairn_code cairn_update_checkpoint_state(const char* dir,
                                                     const cairn_new_checkpoint_state* state,
                                                     const cairn_catalog_options* options,
                                                     cairn_error** error);

// Makes `prefix` the latest checkpoint: moves its entry to the end of the catalog, or adds it
// there. Errors: NotFound (its files are missing); those of the two functions above.
CAIRN_C_API cairn_code cairn_set_latest_checkpoint(const char* dir, const char* prefix,
                                                   const cairn_catalog_options* options,
                                                   cairn_error** error);

// Gives the prefix of the latest checkpoint; NULL if there is no catalog, or if its files are gone.
// Free it with cairn_text_free(). Errors: those of cairn_get_checkpoint_state().
CAIRN_C_API cairn_code cairn_latest_checkpoint(const char* dir,
                                               const cairn_catalog_options* options, char** prefix,
                                               cairn_error** error);

// A checkpoint that was passed, and why.
typedef struct cairn_skipped_checkpoint {
  cairn_string prefix;
  cairn_string why;  // one sentence
} cairn_skipped_checkpoint;

// The result of cairn_latest_whole().
typedef struct cairn_whole_checkpoint {
  cairn_string prefix;                             // `data` is NULL: none is whole
  const cairn_skipped_checkpoint* const* skipped;  // newer ones that are not, newest first
  size_t skipped_count;
} cairn_whole_checkpoint;

// Gives the newest checkpoint of the catalog that has valid indexes and all shards, each of them
// long enough. Errors: those of cairn_get_checkpoint_state(). Cost: reads the indexes of one
// checkpoint after the other, and no tensor.
CAIRN_C_API cairn_code cairn_latest_whole(const char* dir, const cairn_catalog_options* options,
                                          cairn_whole_checkpoint** whole, cairn_error** error);

CAIRN_C_API void cairn_whole_checkpoint_free(cairn_whole_checkpoint* whole);  // Ends a result.

// An entry of a catalog, and whether it opens.
typedef struct cairn_listed_checkpoint {
  cairn_string prefix;    // as the catalog names it
  cairn_string opens_as;  // the path that opens; `data` is NULL: the checkpoint is not whole
  cairn_string why;       // why it is not whole, one sentence
} cairn_listed_checkpoint;

// The result of cairn_list_checkpoints().
typedef struct cairn_listed_checkpoints {
  const cairn_listed_checkpoint* const* checkpoints;
  size_t count;
} cairn_listed_checkpoints;

// Gives every entry of the catalog, oldest first, and whether it opens; none if there is no
// catalog. Errors: those of cairn_get_checkpoint_state(). Cost: reads the indexes of every entry,
// and no tensor.
CAIRN_C_API cairn_code cairn_list_checkpoints(const char* dir, const cairn_catalog_options* options,
                                              cairn_listed_checkpoints** checkpoints,
                                              cairn_error** error);

CAIRN_C_API void cairn_listed_checkpoints_free(cairn_listed_checkpoints* checkpoints);  // Ends it.

CAIRN_C_END
