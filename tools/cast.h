#pragma once

// Casts, as convert takes and reports them.

#include <span>
#include <vector>

#include "cairn/cast.h"
#include "command_line.h"
#include "output.h"

namespace cairn::tools {

// --cast FROM=TO.
void add_casts(CommandLine& line, std::vector<Cast>& casts);

void add_cast_counts(Json& json, std::span<const CastCounts> casts);
void print_cast_counts(std::span<const CastCounts> casts);

}  // namespace cairn::tools
