#pragma once

// Element types.

#include "cairn/c/export.h"

CAIRN_C_BEGIN

// The numbers are those of TensorFlow's DataType.
typedef enum cairn_dtype {
  CAIRN_DTYPE_INVALID = 0,
  CAIRN_FLOAT32 = 1,
  CAIRN_FLOAT64 = 2,
  CAIRN_INT32 = 3,
  CAIRN_UINT8 = 4,
  CAIRN_INT16 = 5,
  CAIRN_INT8 = 6,
  CAIRN_STRING = 7,
  CAIRN_COMPLEX64 = 8,
  CAIRN_INT64 = 9,
  CAIRN_BOOL = 10,  // one byte; stored bytes other than 0 and 1 occur
  CAIRN_QINT8 = 11,
  CAIRN_QUINT8 = 12,
  CAIRN_QINT32 = 13,
  CAIRN_BFLOAT16 = 14,
  CAIRN_QINT16 = 15,
  CAIRN_QUINT16 = 16,
  CAIRN_UINT16 = 17,
  CAIRN_COMPLEX128 = 18,
  CAIRN_FLOAT16 = 19,
  CAIRN_RESOURCE = 20,  // a handle inside a running TensorFlow; cannot be stored
  CAIRN_VARIANT = 21,   // opaque; copied byte for byte
  CAIRN_UINT32 = 22,
  CAIRN_UINT64 = 23,
  CAIRN_FLOAT8_E5M2 = 24,
  CAIRN_FLOAT8_E4M3FN = 25,
  CAIRN_FLOAT8_E4M3FNUZ = 26,
  CAIRN_FLOAT8_E4M3B11FNUZ = 27,
  CAIRN_FLOAT8_E5M2FNUZ = 28,
  CAIRN_INT4 = 29,  // TensorFlow stores the sub-byte types one element per byte, in the low bits
  CAIRN_UINT4 = 30,
  CAIRN_INT2 = 31,
  CAIRN_UINT2 = 32,
  CAIRN_FLOAT4_E2M1FN = 33,
  CAIRN_OPAQUE = 256  // known by its name only, such as "F8_E8M0" or "Q4_K"
} cairn_dtype;

// TensorFlow's Python name: "float32", "bfloat16", …; "invalid" for any other number. Lifetime: as
// long as the library is loaded.
CAIRN_C_API cairn_string cairn_dtype_name(cairn_dtype dtype);

// The dtype of that name; CAIRN_DTYPE_INVALID if there is none.
CAIRN_C_API cairn_dtype cairn_dtype_from_name(cairn_string name);

// Stored bytes per element. 0 if the elements differ in size (String, Variant), or if the dtype
// cannot be stored, or for Opaque.
CAIRN_C_API uint32_t cairn_dtype_element_bytes(cairn_dtype dtype);

CAIRN_C_END
