#include "bench_figures.h"

#include <fmt/format.h>

#include <algorithm>

#include "output.h"

namespace cairn::tools {

Result<void> Bench::add_warm_and_cold(Figure row, const Trial& trial) {
  for (const PageCache cache : {PageCache::Warm, PageCache::Cold}) {
    const auto seconds = watch.time(cache, trial);
    if (!seconds) return seconds.error();
    row.state = cache == PageCache::Warm ? "warm" : "cold";
    row.seconds = *seconds;
    report.figures.push_back(row);
  }
  return {};
}

std::optional<double> gigabytes_per_second(const Figure& row) {
  if (row.bytes == 0 || row.seconds.median <= 0) return std::nullopt;
  return static_cast<double>(row.bytes) / row.seconds.median / 1e9;
}

std::optional<double> times_of_pread(const BenchReport& report, const Figure& row) {
  const Figure* const pread = find(report, "pread", row.state);
  if (pread == nullptr || row.bytes == 0 || pread->seconds.median <= 0) return std::nullopt;
  return row.seconds.median / pread->seconds.median;
}

const Figure* find(const BenchReport& report, std::string_view step, std::string_view state) {
  for (const Figure& row : report.figures) {
    if (row.step == step && row.state == state) return &row;
  }
  return nullptr;
}

std::string label(const Figure& row) {
  return row.state.empty() ? row.step : row.step + ", " + row.state;
}

std::string duration(double seconds) {
  const auto shown = [](double value, std::string_view unit) {
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return fmt::format("{:.{}f} {}", value, decimals, unit);
  };
  if (seconds < 999.5e-6) return shown(seconds * 1e6, "µs");
  if (seconds < 999.5e-3) return shown(seconds * 1e3, "ms");
  return shown(seconds, "s");
}

std::vector<std::string> description(const BenchReport& report) {
  return {fmt::format("{}, {}, {} bytes", report.format, count_of(report.tensors, "tensor"),
                      grouped(report.bytes)),
          fmt::format("{} of {} bytes have checksums",
                      grouped(report.bytes - std::min(report.bytes, report.unchecked_bytes)),
                      grouped(report.bytes)),
          describe(report.place), count_of(report.cores, "core")};
}

std::vector<std::string> explanations(const BenchOptions& options, const BenchReport& report) {
  std::vector<std::string> out;
  for (const auto& [state, chosen] :
       {std::pair("warm", report.warm_method), std::pair("cold", report.cold_method)})
    out.push_back(fmt::format("restore, {}: {}: {}", state, chosen.method, chosen.reason));
  if (report.unchecked_bytes != 0)
    out.push_back(fmt::format(
        "{} of {} bytes have no stored checksums: verify and restore did not check them",
        grouped(report.unchecked_bytes), grouped(report.bytes)));
  if (report.shares)
    out.push_back(fmt::format("{} processes hold {} bytes of memory together (PSS), the largest {}",
                              options.processes, grouped(report.shares->sum_bytes),
                              grouped(report.shares->largest_bytes)));
  for (const Peer& peer : report.peers)
    out.push_back(peer.why_not.empty() ? fmt::format("{}: version {}", peer.name, peer.version)
                                       : fmt::format("{}: {}", peer.name, peer.why_not));
  return out;
}

}  // namespace cairn::tools
