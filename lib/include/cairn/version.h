#pragma once

#include <string_view>

#include "cairn/export.h"

// The version of these headers: the version that a program is compiled with. In 0.x each minor
// version may change the interface, and with it the name of the shared library (libcairn.so.0.1).
// No version changes the file formats.
#define CAIRN_VERSION_MAJOR 0
#define CAIRN_VERSION_MINOR 1
#define CAIRN_VERSION_PATCH 0
#define CAIRN_VERSION_STRING "0.1.0"
// The version as one increasing number, for #if: 0.1.0 is 100, 1.2.3 is 10203.
#define CAIRN_VERSION \
  (CAIRN_VERSION_MAJOR * 10000 + CAIRN_VERSION_MINOR * 100 + CAIRN_VERSION_PATCH)

namespace cairn {

// The version of the loaded library, for example "0.1.0": the CAIRN_VERSION_STRING that the library
// was compiled with. Lifetime: as long as the library is loaded.
CAIRN_API std::string_view version() noexcept;

}  // namespace cairn
