#pragma once

// Errors, and the options of every function that may take longer than 100 ms.

#include "cairn/c/export.h"

CAIRN_C_BEGIN

// The kind of an error: what the caller can do. There is one code for each different action.
typedef enum cairn_code {
  CAIRN_OK = 0,
  CAIRN_NOT_FOUND = 1,      // no such file, tensor or checkpoint: use another path or name
  CAIRN_EXISTS = 2,         // the target exists: choose another name, or allow to replace it
  CAIRN_CORRUPT = 3,        // the bytes are not what was stored: get the file again
  CAIRN_UNSUPPORTED = 4,    // valid, but this version or this function cannot do it
  CAIRN_UNSAFE = 5,         // a file leads outside its directory, or is no regular file
  CAIRN_INVALID = 6,        // an argument of the caller is wrong
  CAIRN_IO = 7,             // a system call failed; cairn_error_os_errno() says how
  CAIRN_NO_SPACE = 8,       // the disk or the quota is full: free space
  CAIRN_OUT_OF_MEMORY = 9,  // there is not enough memory
  CAIRN_BUSY = 10,          // another process holds it: try again
  CAIRN_CANCELLED = 11      // the caller's cairn_stop requested it
} cairn_code;

// The name of a code: "Ok", "NotFound", "Corrupt", …; "Unknown" for any other number. Lifetime: as
// long as the library is loaded.
CAIRN_C_API const char* cairn_code_name(cairn_code code);

// An error: a code and a message.
typedef struct cairn_error cairn_error;

// An error of your own, for a callback that fails. Lifetime: the message is copied. Never returns
// NULL: without memory it returns an error with the code OutOfMemory.
CAIRN_C_API cairn_error* cairn_error_new(cairn_code code, const char* message);

CAIRN_C_API void cairn_error_free(cairn_error* error);  // Ends an error. NULL is allowed.

// The code of an error.
CAIRN_C_API cairn_code cairn_error_code(const cairn_error* error);

// The message, one sentence: what failed, on which file, at which byte. Lifetime: that of the
// error.
CAIRN_C_API const char* cairn_error_message(const cairn_error* error);

// The errno of the system call that failed; 0 if none failed.
CAIRN_C_API int32_t cairn_error_os_errno(const cairn_error* error);

// ---- Long calls

// Asks calls to stop. Each call that got it in its options returns Cancelled soon, and leaves
// nothing half-published.
typedef struct cairn_stop cairn_stop;

// Gives a new one. Errors: OutOfMemory.
CAIRN_C_API cairn_code cairn_stop_new(cairn_stop** stop, cairn_error** error);

// Requests the stop, for this call and all later ones with this cairn_stop. Threads: any, also
// while calls run. Not allowed in a signal handler.
CAIRN_C_API void cairn_stop_request(const cairn_stop* stop);

// Ends a cairn_stop. Calls that still run with it do not stop any more; nothing breaks.
CAIRN_C_API void cairn_stop_free(cairn_stop* stop);

// How far a call is.
typedef struct cairn_progress {
  uint64_t done_bytes;
  uint64_t total_bytes;
} cairn_progress;

// How a long call runs.
typedef struct cairn_exec_options {
  size_t struct_size;
  // 0: as many as the affinity mask and the CPU quota of the cgroup allow. 1: the calling thread.
  uint32_t threads_max;
  uint32_t reserved;
  const cairn_stop* stop;  // NULL: none
  // NULL: none. The calling thread calls it, at most 10 times per second.
  void (*progress)(void* context, const cairn_progress* progress);
  void* progress_context;
} cairn_exec_options;
CAIRN_C_INIT(cairn_exec_options)

// How long to wait for a lock, in milliseconds, where 0 means 30 seconds.
#define CAIRN_NO_WAIT ((int64_t)-1)
#define CAIRN_WAIT_FOREVER INT64_MAX

CAIRN_C_END
