#include "bench_document.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "output.h"

namespace cairn::tools {
namespace {

// Of any text, text: nothing in it makes a link, a cell or an element.
std::string as_markdown(std::string_view text) {
  std::string out;
  for (const char c : safe(text)) {
    if (std::string_view("\\`*_[]<>|&#~!").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string cell(const std::optional<double>& value) {
  return value ? fmt::format("{:.3g}", *value) : "–";
}

}  // namespace

std::string bad_report_name(const std::string& file) {
  if (file.ends_with(".md") || file.ends_with(".svg")) return {};
  return "'" + file + "' ends neither in .md nor in .svg";
}

Result<void> write_report(const std::string& file, const BenchOptions& options,
                          const BenchReport& report) {
  errno = 0;
  std::ofstream out(file, std::ios::binary);
  out << (file.ends_with(".md") ? markdown(options, report) : chart(options, report));
  out.close();
  if (out) return {};
  return Error{Code::Io, errno,
               fmt::format("the report {} cannot be written: {}", file, std::strerror(errno))};
}

std::string markdown(const BenchOptions& options, const BenchReport& report) {
  std::string out = fmt::format("# cairn bench {}\n\n", as_markdown(options.path));
  for (const std::string& line : description(report))
    out += fmt::format("- {}\n", as_markdown(line));
  out += fmt::format("- {} of each; open, first: {} new processes\n\n",
                     count_of(options.repeat, "run"), report.opened_first);
  out +=
      "| | minimum | median | maximum | GB/s | median / pread |\n"
      "| --- | ---: | ---: | ---: | ---: | ---: |\n";
  for (const Figure& row : report.figures) {
    out += fmt::format("| {} | {} | {} | {} | {} | {} |\n", label(row), duration(row.seconds.min),
                       duration(row.seconds.median), duration(row.seconds.max),
                       cell(gigabytes_per_second(row)), cell(times_of_pread(report, row)));
  }
  out += "\n";
  for (const std::string& sentence : explanations(options, report))
    out += fmt::format("- {}\n", as_markdown(sentence));
  out +=
      "\nWarm: the page cache holds the shards. Cold: before each run they were synced and dropped "
      "from it.\nGB/s: the bytes by the median; a warm mapping moves none. `pread` reads the same "
      "files on all cores\ninto memory.\n";
  return out;
}

}  // namespace cairn::tools
