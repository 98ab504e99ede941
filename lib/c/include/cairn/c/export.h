#pragma once

// What all headers of the C interface share: how a function is declared, and texts.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// The library exports what is declared with CAIRN_C_API.
#define CAIRN_C_API __attribute__((visibility("default")))

#ifdef __cplusplus
#define CAIRN_C_BEGIN extern "C" {
#define CAIRN_C_END }
#else
#define CAIRN_C_BEGIN
#define CAIRN_C_END
#endif

// Defines the function `type_init` of a struct of options: zero everywhere, and its size.
#define CAIRN_C_INIT(type)               \
  static inline type type##_init(void) { \
    type value;                          \
    memset(&value, 0, sizeof value);     \
    value.struct_size = sizeof value;    \
    return value;                        \
  }

CAIRN_C_BEGIN

// Bytes of a text. `data` may be NULL if `size` is 0. This struct never changes.
typedef struct cairn_string {
  const char* data;
  size_t size;
} cairn_string;

// A text that ends with NUL, as a cairn_string. Lifetime: that of `text`.
static inline cairn_string cairn_str(const char* text) {
  cairn_string string;
  string.data = text;
  string.size = strlen(text);
  return string;
}

// A pair of metadata. This struct never changes.
typedef struct cairn_key_value {
  cairn_string key;
  cairn_string value;
} cairn_key_value;

// A list of texts, in a result.
typedef struct cairn_strings {
  const cairn_string* values;
  size_t count;
} cairn_strings;

// Ends a list of texts that a function gave.
CAIRN_C_API void cairn_strings_free(cairn_strings* strings);

// Ends a text that a function gave as a `char*`.
CAIRN_C_API void cairn_text_free(char* text);

CAIRN_C_END
