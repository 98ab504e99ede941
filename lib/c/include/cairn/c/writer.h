#pragma once

// The Writer writes one checkpoint. To write one after the other into a directory, use the Saver.

#include "cairn/c/checkpoint.h"

CAIRN_C_BEGIN

// How a checkpoint is written.
typedef struct cairn_writer_options {
  size_t struct_size;
  int64_t step;  // with has_step
  int32_t has_step;
  int32_t no_tensorflow_index;  // 1: write no P.index, so that TensorFlow does not open it
  int32_t no_cairn_index;       // 1: write no P.cairn; one of both must be written
  int32_t keep_existing;        // 1: commit returns Exists if the prefix has a checkpoint
  // 0: the universal shard. Else the alignment of every tensor, a power of two, 64 … 4096; then the
  // shard has no safetensors header.
  uint32_t alignment_bytes;
  uint32_t reserved;
  const cairn_key_value* metadata;
  size_t metadata_count;
  const cairn_key_value* safetensors_metadata;  // UTF-8, for the header of the shard too
  size_t safetensors_metadata_count;
  cairn_string meta_graph;  // bytes of P.meta; empty: none
  // NULL, or the checkpoint whose tensors are written again. If it has the same prefix, and another
  // process has published there since it was opened, commit returns Busy.
  const cairn_checkpoint* read_from;
  int64_t lock_wait_ms;  // how long commit waits for another process; 0: 30 seconds
} cairn_writer_options;
CAIRN_C_INIT(cairn_writer_options)

// The name of a tensor and all its bytes, row-major and little-endian. This struct never changes.
typedef struct cairn_named_bytes {
  cairn_string name;
  const void* bytes;
  size_t size_bytes;
} cairn_named_bytes;

// Writes one checkpoint. Create it with the specs of the tensors, give the bytes in any order, then
// call cairn_writer_commit().
//
// Before the commit nothing exists under the names of the prefix, and an existing checkpoint stays
// whole. A Writer that is freed without a commit removes its temporary files. Several Writers of
// one prefix, in any processes, take turns in the commit. Threads: one call at a time.
typedef struct cairn_writer cairn_writer;

// Begins a checkpoint. Creates missing parent directories. The specs are copied. `options` may be
// NULL. Errors: Invalid (a name or a metadata key is given twice; a shape is negative or too large;
// the alignment is no power of two; no index is to be written; an opaque dtype has no name or no
// bits), Unsupported (a dtype that cannot be stored), NoSpace, Io.
CAIRN_C_API cairn_code cairn_writer_create(const char* prefix, const cairn_tensor_spec* specs,
                                           size_t count, const cairn_writer_options* options,
                                           cairn_writer** writer, cairn_error** error);

// Ends a Writer; without a commit nothing is published.
CAIRN_C_API void cairn_writer_free(cairn_writer* writer);

// Writes all bytes of a tensor, row-major and little-endian. Errors: NotFound (no such spec),
// Invalid (the size is wrong; the tensor is written already; it is a string tensor), Unsupported
// (the file system has no locks, which the commit needs), Io, NoSpace.
CAIRN_C_API cairn_code cairn_writer_write(cairn_writer* writer, cairn_string name,
                                          const void* bytes, size_t size_bytes,
                                          cairn_error** error);

// Writes all bytes of these tensors, like one cairn_writer_write() for each, but on up to four
// cores. `exec` may be NULL. Errors: those of cairn_writer_write(), before any byte is written.
// Cancelled, Io and NoSpace come during the write and are final. Cost: one copy of each byte.
CAIRN_C_API cairn_code cairn_writer_write_all(cairn_writer* writer,
                                              const cairn_named_bytes* tensors, size_t count,
                                              const cairn_exec_options* exec, cairn_error** error);

// Writes all elements of a String tensor, row-major. Errors: those of cairn_writer_write().
CAIRN_C_API cairn_code cairn_writer_write_strings(cairn_writer* writer, cairn_string name,
                                                  const cairn_string* values, size_t count,
                                                  cairn_error** error);

// Writes all bytes of a String or Variant tensor in TensorFlow's encoding, as they are. Errors:
// those of cairn_writer_write(); Corrupt (not a valid encoding).
CAIRN_C_API cairn_code cairn_writer_write_encoded(cairn_writer* writer, cairn_string name,
                                                  const void* bytes, size_t size_bytes,
                                                  cairn_error** error);

// Writes the next bytes of a tensor that does not fit into memory. Errors: those of
// cairn_writer_write(); Invalid (more bytes than the tensor has).
CAIRN_C_API cairn_code cairn_writer_append(cairn_writer* writer, cairn_string name,
                                           const void* bytes, size_t size_bytes,
                                           cairn_error** error);

// Makes `name` share the bytes of `same_as` (tied weights). Both must be in the specs and have the
// same dtype and size. Call it before the first bytes are written, and write the bytes once, under
// that name of the tied ones that comes first in bytewise order. Errors: NotFound, Invalid.
CAIRN_C_API cairn_code cairn_writer_tie(cairn_writer* writer, cairn_string name,
                                        cairn_string same_as, cairn_error** error);

// Publishes the checkpoint. When it returns, the checkpoint survives a power cut; until then, the
// old one of the same prefix does. `exec` may be NULL.
//
// After these errors nothing has changed, and it may be called again: Invalid (a tensor does not
// have all its bytes; the second call), Cancelled, Busy (another process publishes), Unsupported
// (the file system has no locks). These errors are final: Exists (with `keep_existing`), Busy
// (`read_from` was replaced), Io, NoSpace.
CAIRN_C_API cairn_code cairn_writer_commit(cairn_writer* writer, const cairn_exec_options* exec,
                                           cairn_error** error);

// The count of warnings: what P.index leaves out, and, after the commit, which tensors of the old
// checkpoint are missing in the new one or have another dtype or shape.
CAIRN_C_API size_t cairn_writer_warning_count(const cairn_writer* writer);

// The warning at a position, which must be less than the count, else the program aborts. Lifetime:
// until the commit or until the Writer is freed.
CAIRN_C_API cairn_string cairn_writer_warning_at(const cairn_writer* writer, size_t position);

CAIRN_C_END
