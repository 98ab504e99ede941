#pragma once

// Restore: open a checkpoint and read all its bytes, by the method that suits the disk and the
// memory. The first row that fits decides:
//
//     more bytes than available memory                              CAIRN_IO_MAP
//     a network disk, FUSE, or an unknown file system               CAIRN_IO_READ
//     cold, and more than half of the available memory              CAIRN_IO_DIRECT
//     everything else                                               CAIRN_IO_POPULATE
//
// Available memory is that of the machine, or what the cgroup of the process leaves. Cold means
// that less than half of the bytes are in the page cache, or that the system does not tell how
// many. Without direct reads in the file system, POPULATE replaces DIRECT; without mmap, READ
// replaces POPULATE and MAP.

#include "cairn/c/checkpoint.h"

CAIRN_C_BEGIN

// How the bytes come into this process.
typedef enum cairn_io_method {
  CAIRN_IO_AUTO = 0,      // the disk and the memory decide
  CAIRN_IO_MAP = 1,       // mapped. A page is read when it is touched
  CAIRN_IO_POPULATE = 2,  // mapped. Every page is read into the page cache
  CAIRN_IO_READ = 3,      // read on all cores, through the page cache, into memory of this process
  CAIRN_IO_DIRECT = 4     // read past the page cache, into huge pages
} cairn_io_method;

// "map", "populate", "read", "direct"; "auto" for any other number. Lifetime: as long as the
// library is loaded.
CAIRN_C_API cairn_string cairn_io_method_name(cairn_io_method method);

// How a checkpoint is restored.
typedef struct cairn_restore_options {
  size_t struct_size;
  cairn_io_method method;
  cairn_verify verify;   // the default is Full: checksums are computed while bytes are read
  int32_t follow_links;  // as in cairn_open_options, also the next fields
  int32_t expand;
  cairn_dtype void_dtype;
  uint32_t reserved;
  const cairn_tensor_spec* expected;
  size_t expected_count;
  const cairn_exec_options* exec;
  const uint8_t* expected_digest;  // as in cairn_open_options; since 1.1
} cairn_restore_options;
CAIRN_C_INIT(cairn_restore_options)

// How a checkpoint was restored.
typedef struct cairn_restored {
  cairn_io_method method;
  int32_t has_resident_bytes;  // 0: the system does not tell
  cairn_string reason;         // why this method, one sentence with the numbers that decided
  uint64_t payload_bytes;
  uint64_t resident_bytes;   // how many of them were in the page cache before the call
  uint64_t available_bytes;  // memory, before the call; 0: the system does not tell
  cairn_string file_system;  // "ext4"; "0x12345678" if Cairn has no name for it
} cairn_restored;

// Opens the checkpoint as cairn_checkpoint_open() does, and reads all its bytes. `options` may be
// NULL, and `restored` too, if you do not want the report. Errors: those of
// cairn_checkpoint_open(); Corrupt (a checksum); Unsupported (CAIRN_IO_DIRECT was requested, and
// the file system has no direct reads). Cost: reads every byte once, on all cores that `exec`
// allows. CAIRN_IO_READ and CAIRN_IO_DIRECT need memory for all bytes, the others almost none.
CAIRN_C_API cairn_code cairn_restore(const char* path, const cairn_restore_options* options,
                                     cairn_checkpoint** checkpoint, cairn_restored** restored,
                                     cairn_error** error);

CAIRN_C_API void cairn_restored_free(cairn_restored* restored);  // Ends a report.

CAIRN_C_END
