#pragma once

// For servers that map checkpoints and must survive a broken file.
//
// If a page of a mapping cannot be read (the file was truncated, a network disk is gone, a sector
// is bad), the kernel sends SIGBUS, which ends the process. While a cairn_sigbus_guard lives, such
// a fault in a shard of any checkpoint that libcairn-c opened has these effects instead:
// cairn_checkpoint_faulted() is true from then on, the page is replaced by zeros, `on_fault` is
// called once for each mapping, and the thread continues. A server computes first, then asks
// cairn_checkpoint_faulted(), and only then sends its answer.

#include "cairn/c/error.h"

CAIRN_C_BEGIN

// A fault.
typedef struct cairn_mapping_fault {
  const void* mapping;    // the whole shard, as far as its index needs it
  size_t size_bytes;      // of the mapping
  uint64_t offset_bytes;  // the place of the fault, in the mapping and in the shard
} cairn_mapping_fault;

// What a guard does besides.
typedef struct cairn_sigbus_guard_options {
  size_t struct_size;
  // NULL: no call. The signal handler calls it, on the thread that touched the page. It may do only
  // what is async-signal-safe, and must not touch the mapping.
  void (*on_fault)(void* context, const cairn_mapping_fault* fault);
  // It must live longer than the guard, until the last fault is handled.
  void* context;
} cairn_sigbus_guard_options;
CAIRN_C_INIT(cairn_sigbus_guard_options)

// The guard of this process for the checkpoints of libcairn-c.
typedef struct cairn_sigbus_guard cairn_sigbus_guard;

// Installs the guard. `options` may be NULL. Threads: any number may fault at the same time.
// Errors: Exists (there is a guard, or there was one and another handler, installed later, may
// still call it), Io. If a program uses libcairn too, each library has its own guard for its own
// checkpoints; each passes on the faults of the other.
CAIRN_C_API cairn_code cairn_sigbus_guard_install(const cairn_sigbus_guard_options* options,
                                                  cairn_sigbus_guard** guard, cairn_error** error);

// Ends the guard: the previous signal action is back, unless another handler was installed after
// the guard. Zeros stay in the mappings.
CAIRN_C_API void cairn_sigbus_guard_free(cairn_sigbus_guard* guard);

CAIRN_C_END
