#pragma once

// What the C tests check with: cases are counted, and a failed one says where.

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cairn/c.h"

// Whether a condition holds; if not, the case has failed.
#define CHECK(condition) check((condition), #condition, __LINE__)
// A call that must succeed, with &error as its last argument.
#define OK(call) ok((call), #call, __LINE__)
// A call that must fail with this code and a message that contains this text.
#define FAILS(call, code, part) fails((call), (code), (part), __LINE__)

extern cairn_error* error;       // of the last call
extern const char* golden_root;  // tests/golden
extern const char* scratch;      // a directory of this process's own

void check(bool condition, const char* text, int line);
void ok(cairn_code code, const char* text, int line);
void fails(cairn_code code, cairn_code wanted, const char* part, int line);
bool same(cairn_string text, const char* wanted);
bool contains(cairn_string text, const char* part);

// scratch/NAME and golden/NAME; the last eight answers stay valid.
const char* in_scratch(const char* name);
const char* golden(const char* name);

void write_file(const char* path, const void* bytes, size_t size);
void copy_directory(const char* from, const char* to);  // its files, no directories

// A spec, and a tensor with its bytes.
cairn_tensor_spec spec_of(const char* name, cairn_dtype dtype, const int64_t* shape, size_t rank);
cairn_named_tensor named(const cairn_tensor_spec* spec, const void* bytes, size_t size);

// Opens a checkpoint with default options; ends the test if that fails.
cairn_checkpoint* must_open(const char* path);

// The cases of the other files.
void read_cases(void);
void write_cases(void);
void directory_cases(void);
void transfer_cases(void);
void live_cases(void);
void run_case(const char* name, void (*body)(void));
