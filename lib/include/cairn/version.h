#pragma once

#include <string_view>

#include "cairn/export.h"

namespace cairn {

// "0.1.0". In 0.x the interface may change; the formats may not.
CAIRN_API std::string_view version() noexcept;

}  // namespace cairn
