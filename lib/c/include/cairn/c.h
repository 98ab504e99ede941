#pragma once

// Cairn for C, and for every language that can call C: open a checkpoint, list and look up tensors,
// view and read their bytes, verify, restore, save, list a directory, watch it, serve a model that
// is replaced, and import, export, convert, copy and merge checkpoints. The headers are clean C99
// and clean C++. Link libcairn-c (`pkg-config --cflags --libs cairn-c`).
//
//     cairn_error* error = NULL;
//     cairn_checkpoint* checkpoint;
//     cairn_tensor v1;
//     const void* bytes;
//     if (cairn_checkpoint_open("saved/train2-9", NULL, &checkpoint, &error) != CAIRN_OK ||
//         cairn_checkpoint_tensor(checkpoint, cairn_str("v1"), &v1, &error) != CAIRN_OK ||
//         cairn_tensor_bytes(v1, &bytes, NULL, &error) != CAIRN_OK) {
//       fprintf(stderr, "%s\n", cairn_error_message(error));
//       exit(1);
//     }
//
// These rules are true for every function. What each function does, its errors, lifetimes, threads
// and cost are at its declaration.
//
// Errors. A function that can fail returns a cairn_code; CAIRN_OK is 0. Its last parameter is a
// `cairn_error**`, or NULL if you want the code only. The function sets the pointer: to NULL if it
// succeeds, to a new error if it fails. Free the error with cairn_error_free() before you pass the
// pointer again. If a function fails, it sets no other result. Every function with a cairn_code can
// return OutOfMemory, and Invalid for an argument that its declaration does not allow. No C++
// exception leaves the library. An argument that must not be NULL, and is, crashes the program;
// where NULL is allowed, the declaration says so.
//
// Handles and results. Types without fields are handles. A handle, and a result that a function
// gives through a pointer to a pointer, belongs to you: end it with the `..._free` function of its
// type, which accepts NULL. What a result or a handle points to lives as long as it.
//
// Text. A cairn_string is a pointer and a size in bytes. Names of tensors and metadata are bytes,
// not necessarily UTF-8, and may contain NUL. Those of a checkpoint point into its index: nothing
// is copied, and no NUL follows. The texts in results are followed by NUL, which `size` does not
// count: so the prefix of a result can be passed as a path. Paths are `const char*`, with NUL at
// the end.
//
// Structs of options begin with `struct_size`, and so do the elements of lists that you pass. Call
// the function `..._init` of the struct, which writes sizeof into it and zero into everything else,
// then set fields. Zero is the default of every field; NULL instead of options means all defaults.
// Later versions of libcairn-c.so.1 add fields at the end. A program that was compiled against an
// older header passes a smaller struct; the missing fields have their defaults. A program that was
// compiled against a newer header passes a larger struct; if a field that the library does not know
// is not zero, the function returns Unsupported. All elements of one list have the same
// struct_size. Fields named `reserved` must be zero, else Invalid. A field that says "0 or 1" takes
// any other number for 1.
//
// Results are structs that the library allocates, and later versions add fields at their end. Never
// copy one by its sizeof. A list of results is an array of pointers.
//
// Threads. Any number of threads may call functions on the same const handle at the same time. All
// other handles: one call at a time. The library starts no thread that outlives the call, except
// for cairn_saver_save_async(). Callbacks run on the calling thread. They must not leave by longjmp
// or by an exception.
//
// ABI. libcairn-c.so.1 only ever adds functions, fields at the end of structs, and enumerators. No
// function, field or number changes or goes away. A program that runs with one version runs with
// every later one. docs/c.md has the details.

#include "cairn/c/catalog.h"
#include "cairn/c/checkpoint.h"
#include "cairn/c/dtype.h"
#include "cairn/c/error.h"
#include "cairn/c/export.h"
#include "cairn/c/live.h"
#include "cairn/c/restore.h"
#include "cairn/c/saver.h"
#include "cairn/c/sigbus_guard.h"
#include "cairn/c/tensor.h"
#include "cairn/c/transfer.h"
#include "cairn/c/version.h"
#include "cairn/c/watcher.h"
#include "cairn/c/writer.h"
