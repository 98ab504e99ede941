#pragma once

#include "cairn/c/export.h"

// The version of this interface, for #if. MAJOR is the number in libcairn-c.so.1; MINOR grows with
// each release that adds something.
#define CAIRN_C_VERSION_MAJOR 1
#define CAIRN_C_VERSION_MINOR 2
#define CAIRN_C_VERSION (CAIRN_C_VERSION_MAJOR * 10000 + CAIRN_C_VERSION_MINOR)

CAIRN_C_BEGIN

// The CAIRN_C_VERSION of the loaded library. If it is less than that of the header, the library
// lacks what was added in between.
CAIRN_C_API uint32_t cairn_c_version(void);

// The version of Cairn, for example "0.1.0". Lifetime: as long as the library is loaded.
CAIRN_C_API const char* cairn_version(void);

CAIRN_C_END
