#pragma once

#include "bench_figures.h"

namespace cairn::tools {

void print_text(const BenchOptions& options, const BenchReport& report);
void print_json(const BenchOptions& options, const BenchReport& report);

}  // namespace cairn::tools
