#pragma once

#include <string_view>

#include "cairn/export.h"

// The version of these headers, which is what a program is compiled against. In 0.x the interface
// may change with each minor version, and the shared library's name (libcairn.so.0.1) with it; the
// file formats may not.
#define CAIRN_VERSION_MAJOR 0
#define CAIRN_VERSION_MINOR 1
#define CAIRN_VERSION_PATCH 0
#define CAIRN_VERSION_STRING "0.1.0"
// One number that grows, for #if: 0.1.0 is 100, 1.2.3 is 10203.
#define CAIRN_VERSION \
  (CAIRN_VERSION_MAJOR * 10000 + CAIRN_VERSION_MINOR * 100 + CAIRN_VERSION_PATCH)

namespace cairn {

// The version of the library that runs, "0.1.0": CAIRN_VERSION_STRING as it was when the library
// was compiled. Lives as long as the library is loaded.
CAIRN_API std::string_view version() noexcept;

}  // namespace cairn
