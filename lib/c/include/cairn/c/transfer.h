#pragma once

// Whole checkpoints: import, export, convert, copy and merge.

#include "cairn/c/checkpoint.h"

CAIRN_C_BEGIN

// How a shard gets a second name, with an output.
typedef enum cairn_link {
  CAIRN_LINK_AUTO = 0,     // hard link, reflink or copy: what suits the files and the file system
  CAIRN_LINK_HARD = 1,     // hard link, else an error
  CAIRN_LINK_REFLINK = 2,  // a copy that shares its blocks with the original, else an error
  CAIRN_LINK_COPY = 3
} cairn_link;

// Which names of an object-based checkpoint of TensorFlow the converted tensors get.
typedef enum cairn_tensor_names {
  CAIRN_NAMES_STORED = 0,   // the keys
  CAIRN_NAMES_PATH = 1,     // object paths, "model/dense/kernel": the keys without their end
  CAIRN_NAMES_VARIABLE = 2  // the full name of each variable, where it has one of its own
} cairn_tensor_names;

// A tensor and its new name, or a pattern and its replacement. This struct never changes.
typedef struct cairn_name_change {
  cairn_string from;
  cairn_string to;
} cairn_name_change;

// All tensors of the dtype `from` are written with the dtype `to`. Both are one of float64,
// float32, float16 and bfloat16. This struct never changes.
typedef struct cairn_cast {
  cairn_dtype from;
  cairn_dtype to;
} cairn_cast;

// How a checkpoint is transferred. Functions ignore the fields that their comments do not name.
typedef struct cairn_transfer_options {
  size_t struct_size;
  const char* output;  // a prefix; NULL: the new index goes next to the payload
  cairn_link link;
  int32_t replace;       // 1: an existing checkpoint may be replaced; 0: that is Exists
  int32_t follow_links;  // as in cairn_open_options, for the source; also the next fields
  int32_t expand;
  cairn_dtype void_dtype;
  int32_t allow_lossy;   // 1: what the target cannot hold is left out, and the result names it
  int64_t lock_wait_ms;  // how long to wait for another process; 0: 30 seconds
  const cairn_exec_options* exec;
  // ---- Import of a file that is not TensorFlow's
  int32_t no_sums;  // 1: read only what the file says of its tensors; they cannot be checked
  // ---- Convert
  cairn_tensor_names names;
  const cairn_string* tensors;  // only the tensors of these names; if the count is 0, all
  size_t tensors_count;
  const cairn_name_change* renamed;  // new names of tensors, after `names`
  size_t renamed_count;
  const cairn_name_change* patterns;  // regular expressions (RE2) and replacements, for the others
  size_t patterns_count;
  cairn_string strip_prefix;  // removed from the beginning of each other name, before the patterns
  const cairn_cast* casts;    // at most one for each dtype
  size_t casts_count;
  // To CAIRN_FORMAT_SAFETENSORS. 0: one file. Else `output` is a directory of files with tensors of
  // at most so many bytes each, as the Hugging Face libraries write one.
  uint64_t max_shard_bytes;
} cairn_transfer_options;
CAIRN_C_INIT(cairn_transfer_options)

// What a cast did.
typedef struct cairn_cast_counts {
  cairn_cast cast;
  uint64_t tensor_count;
  uint64_t value_count;
  uint64_t became_infinite;  // finite values that `to` holds as an infinity
  uint64_t became_zero;      // values that were not zero
} cairn_cast_counts;

// The result of a transfer.
typedef struct cairn_transfer {
  cairn_string prefix;  // the path that opens the result
  cairn_link used;      // CAIRN_LINK_AUTO: the payload stayed where it is
  uint32_t reserved;
  uint64_t payload_bytes_copied;  // 0, unless the payload was rewritten or could not be linked
  // Tensors and metadata keys that were left out.
  const cairn_string* not_nameable;
  size_t not_nameable_count;
  const cairn_string* metadata_left_out;
  size_t metadata_left_out_count;
  const cairn_string* safetensors_metadata_left_out;
  size_t safetensors_metadata_left_out_count;
  const cairn_name_change* renamed;  // convert: in the order of the old names
  size_t renamed_count;
  const cairn_cast_counts* const* casts;  // convert: those that were asked for, in their order
  size_t casts_count;
  const cairn_string* warnings;
  size_t warnings_count;
} cairn_transfer;

CAIRN_C_API void cairn_transfer_free(cairn_transfer* transfer);  // Ends a result.

// In every function below `transfer` may be NULL, if you do not want the report. The result is
// durable when the call returns; until then the checkpoint that was there before is whole.

// Adds Cairn's index to a checkpoint of another format: P.cairn beside P.index, or FILE.cairn
// beside a file, as model.gguf.cairn. No tensor byte is moved. `options` may be NULL; of a file
// there is no `output`. Errors: those of cairn_checkpoint_open(); Exists, Unsupported (this format
// cannot be imported, or the file has what no checkpoint can hold, without `allow_lossy`), Busy,
// Io, NoSpace, Cancelled. Cost: reads each byte of a file once, unless `no_sums`; else O(index).
CAIRN_C_API cairn_code cairn_import_index(const char* source, const cairn_transfer_options* options,
                                          cairn_transfer** transfer, cairn_error** error);

// Adds the index of another format to the payload: with CAIRN_FORMAT_TENSORFLOW P.index, with
// CAIRN_FORMAT_SAFETENSORS the name P.safetensors. No tensor byte is moved, unless `output` is
// where linking is impossible. `options` may be NULL. Errors: those of cairn_import_index();
// Unsupported (the layout of the payload does not fit the target: use cairn_convert(); or the
// target cannot hold something, without `allow_lossy`). Cost: O(index); reads tensors only for
// checksums that TensorFlow's index needs and the source does not have.
CAIRN_C_API cairn_code cairn_export_index(const char* source, cairn_format target,
                                          const cairn_transfer_options* options,
                                          cairn_transfer** transfer, cairn_error** error);

// Rewrites any checkpoint in the layout of the target under `options->output`, which is required:
// CAIRN_FORMAT_CAIRN, _TENSORFLOW, _SAFETENSORS, _NPZ or _NPY (of one tensor). Every byte is
// checked while it is copied. Errors: those of cairn_checkpoint_open() and cairn_writer_commit();
// Corrupt (a checksum), Exists (without `replace`; or two tensors would get one name), NotFound (a
// name of `tensors` or `renamed`), Unsupported (the target cannot hold something, without
// `allow_lossy`; a cast of another dtype), Invalid (no output; a pattern is no regular expression;
// a dtype is cast twice). After these nothing is written. Cost: a read and a write of every byte.
CAIRN_C_API cairn_code cairn_convert(const char* source, cairn_format target,
                                     const cairn_transfer_options* options,
                                     cairn_transfer** transfer, cairn_error** error);

// Copies any checkpoint to `options->output`, which is required: a prefix, or an existing
// directory, in which the copy keeps its name. The copy shares no file with the source, and every
// byte of it is compared with its checksum. No catalog lists it. Errors: those of
// cairn_checkpoint_open(); Corrupt (damage: nothing is published), Exists (without `replace`),
// Invalid (no output, or it is the source; CAIRN_LINK_HARD), Unsupported (a SavedModel directory; a
// checkpoint in several files of one-file formats), Busy, Io, NoSpace, Cancelled. Cost: reads each
// byte twice, the second time from memory if there is room.
CAIRN_C_API cairn_code cairn_copy_checkpoint(const char* source,
                                             const cairn_transfer_options* options,
                                             cairn_transfer** transfer, cairn_error** error);

// Merges several checkpoints into one under `options->output`, which is required: P.cairn and
// P.index over the shards of the sources, which get second names. A name may be in one source only,
// except slices of one partitioned tensor. Errors: those of cairn_checkpoint_open(); Exists (a name
// is in two sources; there is a checkpoint under `output`, without `replace`), Invalid (no output,
// no source, or slices that overlap), Unsupported (different byte orders), Io, NoSpace, Cancelled.
// Cost: O(tensors), if the sources have checksums.
CAIRN_C_API cairn_code cairn_merge(const char* const* sources, size_t count,
                                   const cairn_transfer_options* options, cairn_transfer** transfer,
                                   cairn_error** error);

CAIRN_C_END
