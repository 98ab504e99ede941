#pragma once

#include "cairn/c/error.h"
#include "cairn/c/export.h"
#include "cairn/c/tensor.h"

CAIRN_C_BEGIN

// How the tensors' bytes come into this process.
typedef enum cairn_access {
  CAIRN_ACCESS_SHARED = 0,   // mapped read-only; all processes share one copy
  CAIRN_ACCESS_PRIVATE = 1,  // mapped copy-on-write; a page becomes this process's own when it is
                             // written. No snapshot: other pages show later changes of the file
  CAIRN_ACCESS_COPY = 2      // read into this process's memory at once; never faults later
} cairn_access;

// When the tensors' bytes are compared with their checksums. The index is always checked whole.
typedef enum cairn_verify {
  CAIRN_VERIFY_DEFAULT = 0,  // Lazy for cairn_checkpoint_open(), Full for cairn_restore()
  CAIRN_VERIFY_LAZY = 1,     // each tensor once, on its first use
  CAIRN_VERIFY_FULL = 2,     // all tensors that have a checksum, on all cores, at once
  CAIRN_VERIFY_NONE = 3      // never, unless a shard has changed after its index was written
} cairn_verify;

// The format of a checkpoint's index.
typedef enum cairn_format {
  CAIRN_FORMAT_CAIRN = 0,
  CAIRN_FORMAT_TENSORFLOW = 1,
  CAIRN_FORMAT_TENSORFLOW_V1 = 2,
  CAIRN_FORMAT_SAFETENSORS = 3,
  CAIRN_FORMAT_NPY = 4,
  CAIRN_FORMAT_GGUF = 5,
  CAIRN_FORMAT_NPZ = 6,
  CAIRN_FORMAT_HDF5 = 7,
  CAIRN_FORMAT_KERAS = 8,
  CAIRN_FORMAT_ONNX = 9,
  CAIRN_FORMAT_PTD = 10,
  CAIRN_FORMAT_TFLITE = 11,
  CAIRN_FORMAT_PYTORCH = 12
} cairn_format;

// "cairn", "tensorflow", "safetensors", "gguf", …; "unknown" for any other number. Lifetime: as
// long as the library is loaded.
CAIRN_C_API cairn_string cairn_format_name(cairn_format format);

// How a checkpoint is opened.
typedef struct cairn_open_options {
  size_t struct_size;
  cairn_access access;
  cairn_verify verify;
  // 0 or 1. 1: files may be symbolic links to any place. 0: only below their directory, or as a
  // Hugging Face cache has them.
  int32_t follow_links;
  // 0 or 1, for PyTorch. 1: a tensor that repeats its elements takes as much memory as its shape
  // needs, at most half of what is available. 0: if that is more than 64 times the stored bytes,
  // the tensor is left out, with a warning.
  int32_t expand;
  // npy and npz: the dtype of arrays that numpy saved without a type. 0: 'V2' is bfloat16.
  cairn_dtype void_dtype;
  uint32_t reserved;
  // If not empty: the checkpoint must have exactly these tensors, else open returns Invalid.
  const cairn_tensor_spec* expected;
  size_t expected_count;
  const cairn_exec_options* exec;  // for CAIRN_VERIFY_FULL and CAIRN_ACCESS_COPY
  // ---- Since 1.1
  // NULL, or the 16 bytes that cairn_checkpoint_digest() must give, else open returns Invalid.
  const uint8_t* expected_digest;
  // 0 or 1. 1: read the index and open no shard, so that a checkpoint can be listed where its
  // shards are not. Each call that needs bytes of tensors returns Unsupported. A file that is its
  // own index must be there and whole. Needs CAIRN_ACCESS_SHARED, and not CAIRN_VERIFY_FULL, else
  // open returns Invalid. V1 checkpoints: Unsupported.
  int32_t index_only;
  uint32_t reserved_1;
} cairn_open_options;
CAIRN_C_INIT(cairn_open_options)

// An open checkpoint: its index, and its shards, each mapped once. It never changes.
//
// Lifetime: one file descriptor per shard stays open as long as a copy lives, so the files may be
// deleted in the meantime. Threads: any number may use it. A forked child may continue to read.
typedef struct cairn_checkpoint cairn_checkpoint;

// Opens the checkpoint at `path` and maps its shards. Reads the index, and no tensor. `path` is a
// prefix ("saved/train2-9"), any file of a checkpoint, a file of another format (.safetensors,
// .npy, .npz, .gguf, .h5, .keras, .onnx, .pt, .ptd, .tflite), a directory with a catalog (its
// latest checkpoint opens), a SavedModel, a Hugging Face model, or a distributed checkpoint of
// PyTorch. `options` may be NULL.
//
// Errors: NotFound (there is no such file, or a shard is missing), Corrupt (index digest, block
// checksum, a span outside its shard, the size of a shard), Unsupported (a newer format, or a file
// that is no checkpoint; the message says what it is), Unsafe (a shard is no regular file, or a
// link leaves the directory), Invalid (`expected` or `expected_digest` differs), Busy (the
// checkpoint was replaced sixteen times while it was opened), Io, Cancelled. Threads: writers may
// save, replace and prune at the same time. Cost: O(index). CAIRN_VERIFY_FULL, CAIRN_ACCESS_COPY
// and a V1 checkpoint read every byte.
CAIRN_C_API cairn_code cairn_checkpoint_open(const char* path, const cairn_open_options* options,
                                             cairn_checkpoint** checkpoint, cairn_error** error);

// Gives another handle of the same open checkpoint, for another owner. Cost: none; the mappings are
// shared, and end with the last copy. Errors: OutOfMemory.
CAIRN_C_API cairn_code cairn_checkpoint_copy(const cairn_checkpoint* checkpoint,
                                             cairn_checkpoint** copy, cairn_error** error);

// Ends a checkpoint. With the last copy all its tensors and views end.
CAIRN_C_API void cairn_checkpoint_free(cairn_checkpoint* checkpoint);

// The format of its index.
CAIRN_C_API cairn_format cairn_checkpoint_format(const cairn_checkpoint* checkpoint);

// The path that was given to open, without the suffix of a member file.
CAIRN_C_API cairn_string cairn_checkpoint_prefix(const cairn_checkpoint* checkpoint);

// Gives the step in Cairn's index; without one, the number after the last '-' of the prefix. false:
// there is no step.
CAIRN_C_API bool cairn_checkpoint_step(const cairn_checkpoint* checkpoint, int64_t* step);

// ---- Metadata. Positions in every function below must be less than the count, else the program
// aborts with a message.

// Gives the value of a key of the metadata that the writer stored. false: there is no such key.
CAIRN_C_API bool cairn_checkpoint_metadata(const cairn_checkpoint* checkpoint, cairn_string key,
                                           cairn_string* value);

// The count of its keys.
CAIRN_C_API size_t cairn_checkpoint_metadata_count(const cairn_checkpoint* checkpoint);

// The pair at a position, in ascending order of keys.
CAIRN_C_API cairn_key_value cairn_checkpoint_metadata_at(const cairn_checkpoint* checkpoint,
                                                         size_t position);

// The same for the __metadata__ of safetensors, which is a separate list.
CAIRN_C_API bool cairn_checkpoint_safetensors_metadata(const cairn_checkpoint* checkpoint,
                                                       cairn_string key, cairn_string* value);

// The count of its keys.
CAIRN_C_API size_t cairn_checkpoint_safetensors_metadata_count(const cairn_checkpoint* checkpoint);

// The pair at a position, in the order of the file.
CAIRN_C_API cairn_key_value
cairn_checkpoint_safetensors_metadata_at(const cairn_checkpoint* checkpoint, size_t position);

// The count of warnings: sentences about what the user should know and what is no error.
CAIRN_C_API size_t cairn_checkpoint_warning_count(const cairn_checkpoint* checkpoint);

// The warning at a position.
CAIRN_C_API cairn_string cairn_checkpoint_warning_at(const cairn_checkpoint* checkpoint,
                                                     size_t position);

// The count of shards.
CAIRN_C_API size_t cairn_checkpoint_shard_count(const cairn_checkpoint* checkpoint);

// The file name of the shard at a position.
CAIRN_C_API cairn_string cairn_checkpoint_shard_name(const cairn_checkpoint* checkpoint,
                                                     size_t position);

// Its size; for a V1 file the size of its decoded values.
CAIRN_C_API uint64_t cairn_checkpoint_shard_size_bytes(const cairn_checkpoint* checkpoint,
                                                       size_t position);

// ---- Tensors

// The count of tensors.
CAIRN_C_API size_t cairn_checkpoint_tensor_count(const cairn_checkpoint* checkpoint);

// The tensor at a position in the bytewise order of names. Cost: none.
CAIRN_C_API cairn_tensor cairn_checkpoint_tensor_at(const cairn_checkpoint* checkpoint,
                                                    size_t position);

// Whether there is a tensor of this name. Cost: O(log tensors), also if there is none; O(1) after
// about tensors / 16 look-ups, because one of them makes a hash table.
CAIRN_C_API bool cairn_checkpoint_contains(const cairn_checkpoint* checkpoint, cairn_string name);

// Gives the tensor of this name. Errors: NotFound; the message lists similar names. Cost: as
// cairn_checkpoint_contains(). If there is none, the search for similar names takes up to a
// millisecond more.
CAIRN_C_API cairn_code cairn_checkpoint_tensor(const cairn_checkpoint* checkpoint,
                                               cairn_string name, cairn_tensor* tensor,
                                               cairn_error** error);

// Gives the tensor of this name; if there is none, the tensor that has this object path or full
// name in TensorFlow's object graph. Errors: those of cairn_checkpoint_tensor(); Invalid (the path
// fits several tensors), Corrupt (the graph). Cost: as cairn_checkpoint_contains(); else O(graph).
CAIRN_C_API cairn_code cairn_checkpoint_find_tensor(const cairn_checkpoint* checkpoint,
                                                    cairn_string name, cairn_tensor* tensor,
                                                    cairn_error** error);

// Gives the digest of the contents: names, dtypes, shapes and values, and neither metadata nor the
// places of the bytes. So it is the same in every format. false: not every tensor has a content
// hash, as in files that Cairn neither wrote nor imported. It says what the index says:
// cairn_checkpoint_verify() tells whether the bytes are so. Cost: O(tensors). Since 1.1.
CAIRN_C_API bool cairn_checkpoint_digest(const cairn_checkpoint* checkpoint, uint8_t digest[16]);

// A range of bytes whose checksum is not the stored one. If `tensor` is empty, the range is the
// header of the shard, or padding.
typedef struct cairn_damage {
  cairn_string tensor;
  cairn_string shard;
  uint64_t offset_bytes;  // in the shard
  uint64_t size_bytes;
  uint32_t stored_crc32c;
  uint32_t computed_crc32c;
} cairn_damage;

// The result of cairn_checkpoint_verify().
typedef struct cairn_verification {
  uint64_t bytes_checked;             // bytes with a stored checksum; shared ranges count once
  uint64_t unchecked_bytes;           // bytes of tensors without a stored checksum
  const cairn_damage* const* damage;  // in the order of the shards
  size_t damage_count;                // 0: no damage was found
} cairn_verification;

// Compares every byte with its checksum. Reads the files and not the mappings (with
// CAIRN_ACCESS_COPY the memory). Damage is in the result and is no error. `exec` may be NULL.
// Errors: Corrupt (spans overlap, or P.index is damaged), Io, Cancelled. Cost: reads every byte
// once, on all cores that `exec` allows.
CAIRN_C_API cairn_code cairn_checkpoint_verify(const cairn_checkpoint* checkpoint,
                                               const cairn_exec_options* exec,
                                               cairn_verification** verification,
                                               cairn_error** error);

CAIRN_C_API void cairn_verification_free(cairn_verification* verification);  // Ends a result.

// Reads the pages of these tensors into memory; if `count` is 0, those of all tensors. `exec` may
// be NULL. Errors: NotFound, Io, Cancelled.
CAIRN_C_API cairn_code cairn_checkpoint_prefetch(const cairn_checkpoint* checkpoint,
                                                 const cairn_string* names, size_t count,
                                                 const cairn_exec_options* exec,
                                                 cairn_error** error);

// Whether a cairn_sigbus_guard has put zeros in the place of a page that could not be read. If
// false, all bytes that were read before this call were true. If true, open the checkpoint again.
// Threads: any. Cost: one load, if no guard has put zeros.
CAIRN_C_API bool cairn_checkpoint_faulted(const cairn_checkpoint* checkpoint);

// Gives the number of bytes of the shards that are in the page cache. Errors: Unsupported (the
// system does not tell), Io.
CAIRN_C_API cairn_code cairn_checkpoint_resident_bytes(const cairn_checkpoint* checkpoint,
                                                       uint64_t* resident_bytes,
                                                       cairn_error** error);

// One request of cairn_checkpoint_read().
typedef struct cairn_read {
  size_t struct_size;
  cairn_string name;
  const cairn_slice* slice;  // NULL: the whole tensor
  void* out;
  size_t size_bytes;  // exactly what cairn_tensor_read_bytes() gives
} cairn_read;
CAIRN_C_INIT(cairn_read)

// How many reads are done.
typedef struct cairn_read_options {
  size_t struct_size;
  // The place of this process among `reader_count` processes of one host that read the same files
  // at the same time, 0 … reader_count − 1. Each begins at another place, so that they do not wait
  // for the same page. 0 and 0: this process is alone.
  uint32_t reader_index;
  uint32_t reader_count;
  const cairn_exec_options* exec;
} cairn_read_options;
CAIRN_C_INIT(cairn_read_options)

// Does many reads as one plan, in the order of the files, on all cores. The `out` ranges must not
// overlap. `options` may be NULL. Errors: those of cairn_tensor_read(), NotFound, Cancelled; after
// an error the contents of `out` are undefined. Memory: 24 bytes for each contiguous run of a slice
// and for each MiB of a tensor, and 256 KiB for each thread.
CAIRN_C_API cairn_code cairn_checkpoint_read(const cairn_checkpoint* checkpoint,
                                             const cairn_read* reads, size_t count,
                                             const cairn_read_options* options,
                                             cairn_error** error);

CAIRN_C_END
