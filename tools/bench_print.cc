#include "bench_print.h"

#include <fmt/format.h>

#include "output.h"

namespace cairn::tools {
namespace {

void add_spread(Json& json, std::string_view key, const Spread& seconds, double unit) {
  json.begin_object(key).decimal("min", seconds.min * unit);
  json.decimal("median", seconds.median * unit).decimal("max", seconds.max * unit).end_object();
}

// {"warm","cold"}, or null where the step was left out.
void add_step(Json& json, const BenchReport& report, const std::string& step) {
  const Figure* const warm = find(report, step, "warm");
  const Figure* const cold = find(report, step, "cold");
  if (warm == nullptr || cold == nullptr) return void(json.null(step + "_ms"));
  json.begin_object(step + "_ms");
  add_spread(json, "warm", warm->seconds, 1e3);
  add_spread(json, "cold", cold->seconds, 1e3);
  json.end_object();
}

void add_chosen(Json& json, std::string_view key, const Chosen& chosen) {
  json.begin_object(key).text("name", chosen.method).text("reason", chosen.reason).end_object();
}

void add_decimal(Json& json, std::string_view key, const std::optional<double>& value) {
  value ? json.decimal(key, *value) : json.null(key);
}

void add_text(Json& json, std::string_view key, const std::string& value) {
  value.empty() ? json.null(key) : json.text(key, value);
}

void add_place(Json& json, const Place& place) {
  json.begin_object("place");
  add_text(json, "file_system", place.file_system);
  add_text(json, "source", place.source);
  add_text(json, "model", place.model);
  place.rotational ? json.flag("rotational", *place.rotational) : json.null("rotational");
  json.end_object();
}

void add_rows(Json& json, const BenchReport& report) {
  json.begin_array("rows");
  for (const Figure& row : report.figures) {
    json.begin_object().text("step", row.step);
    add_text(json, "state", row.state);
    add_spread(json, "us", row.seconds, 1e6);
    add_decimal(json, "gb_per_s", gigabytes_per_second(row));
    add_decimal(json, "times_of_pread", times_of_pread(report, row));
    json.end_object();
  }
  json.end_array();
}

void add_shares_and_peers(Json& json, const BenchOptions& options, const BenchReport& report) {
  if (report.shares) {
    json.begin_object("memory").number("processes", std::uint64_t{options.processes});
    json.number("pss_bytes", report.shares->sum_bytes);
    json.number("pss_bytes_max", report.shares->largest_bytes).end_object();
  } else {
    json.null("memory");
  }
  json.begin_array("peers");
  for (const Peer& peer : report.peers) {
    json.begin_object().text("name", peer.name);
    add_text(json, "version", peer.version);
    add_text(json, "why_not", peer.why_not);
    json.end_object();
  }
  json.end_array();
}

void print_row(const BenchReport& report, const Figure& row) {
  const bool is_open = row.step == "open";
  const double unit = is_open ? 1e6 : 1e3;
  const auto speed = gigabytes_per_second(row);
  const auto times = times_of_pread(report, row);
  std::string line = fmt::format(
      "{:<20}{:>11.3f}{:>11.3f}{:>11.3f}  {}{:>9}{:>9}", label(row), row.seconds.min * unit,
      row.seconds.median * unit, row.seconds.max * unit, is_open ? "us" : "ms",
      speed ? fmt::format("{:.3f}", *speed) : "", times ? fmt::format("{:.2f}", *times) : "");
  line.erase(line.find_last_not_of(' ') + 1);
  print(line + "\n");
}

}  // namespace

void print_json(const BenchOptions& options, const BenchReport& report) {
  Json json;
  json.begin_object().text("path", options.path).number("bytes", report.bytes);
  json.number("unchecked_bytes", report.unchecked_bytes);
  json.number("tensors", std::uint64_t{report.tensors});
  json.number("repeat", std::uint64_t{options.repeat});
  add_spread(json, "open_us", find(report, "open", "")->seconds, 1e6);
  for (const char* step : {"touch", "verify", "copy", "restore"}) add_step(json, report, step);
  json.begin_object("method");
  add_chosen(json, "warm", report.warm_method);
  add_chosen(json, "cold", report.cold_method);
  json.end_object();
  add_decimal(json, "stayed_resident", report.stayed_resident);
  json.text("format", report.format).number("file_bytes", report.file_bytes);
  add_place(json, report.place);
  json.number("cores", std::uint64_t{report.cores});
  json.number("first_opens", std::uint64_t{report.opened_first});
  add_shares_and_peers(json, options, report);
  add_rows(json, report);
  json.end_object().finish();
}

void print_text(const BenchOptions& options, const BenchReport& report) {
  print(fmt::format("{}\n", safe(options.path)));
  for (const std::string& line : description(report)) print(fmt::format("  {}\n", safe(line)));
  print(fmt::format("  {} of each; open, first: {}\n\n", count_of(options.repeat, "run"),
                    fmt::format("{} new processes", report.opened_first)));
  print(fmt::format("{:<20}{:>11}{:>11}{:>11}{:>13}{:>9}\n", "", "min", "median", "max", "GB/s",
                    "/pread"));
  for (const Figure& row : report.figures) print_row(report, row);
  print("\n");
  for (const std::string& sentence : explanations(options, report))
    print(fmt::format("{}\n", safe(sentence)));
  print(
      "\nwarm: the page cache holds the shards, by a run before that is not counted.\n"
      "cold: before each run the shards were synced and dropped with posix_fadvise(DONTNEED).\n"
      "GB/s: the bytes by the median; a warm mapping moves none. /pread: the median, in\n"
      "medians of pread, which reads the same files on all cores into memory.\n");
}

}  // namespace cairn::tools
