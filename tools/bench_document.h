#pragma once

// The report as a file: a Markdown table, or a bar chart.

#include "bench_figures.h"

namespace cairn::tools {

// Why a report cannot be written under this name; empty: it can. The suffix says what it is.
std::string bad_report_name(const std::string& file);

// Errors: Io.
Result<void> write_report(const std::string& file, const BenchOptions& options,
                          const BenchReport& report);

std::string markdown(const BenchOptions& options, const BenchReport& report);
std::string chart(const BenchOptions& options, const BenchReport& report);

}  // namespace cairn::tools
