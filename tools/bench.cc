// How fast is a model on this machine? A checked restore by the way that suits the machine, what it
// is made of, and what it is held against: the machine without Cairn, and other libraries.

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "bench_document.h"
#include "bench_figures.h"
#include "bench_peers.h"
#include "bench_plain.h"
#include "bench_print.h"
#include "bench_processes.h"
#include "bench_save.h"
#include "bench_steps.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Measure how fast a model is on this machine: open, also for the first time in a process;\n"
    "map and touch every page; verify; copy into the caller's memory; restore, checked if\n"
    "checksums are stored; and, of the same files, pread on all cores and cat. Each with a\n"
    "warm and a cold page cache, as minimum, median and maximum, with GB/s.";

constexpr const char* kFooter =
    "Exit status: 0 measured, 2 it could not be done. If only the save or a report fails, the\n"
    "figures are printed, and the exit status is 2.\n\n"
    "warm: the page cache holds the shards, by a run before that is not counted. cold: before\n"
    "each run the shards were synced and dropped from the page cache (posix_fadvise). touch\n"
    "and copy do not check; verify does. open reads only the index and is measured warm;\n"
    "'open, first' is the open of a process that has just begun, for each of at least 21.\n"
    "restore brings in every byte and checks it. It chooses its method by page cache, file\n"
    "system, size and memory, unless you give --method. 'new process' is a process that has\n"
    "just begun, restores and touches every page. If no checksums are stored, as in\n"
    ".safetensors files, nothing is checked: verify is left out, and unchecked_bytes says how\n"
    "many bytes restore brought in without a check.\n\n"
    "pread: the same files on all cores, in blocks of 4 MiB, into memory that was touched\n"
    "before. cat: the same on one core, into a small buffer. The last column has the median in\n"
    "medians of pread: 0.50 is half its time. GB/s: bytes by the median, 10^9 bytes are 1 GB.\n\n"
    "--peers: safetensors (load_file) and tensorflow (its reader, all tensors), if python3 has\n"
    "them and the files are theirs. Each run is a new process, compare 'new process'; imports\n"
    "are not timed. --save is timed until everything is durable.\n\n"
    "JSON: {\"path\",\"bytes\",\"unchecked_bytes\",\"tensors\",\"repeat\",\n"
    "\"open_us\":{\"min\",\"median\",\"max\"},\"touch_ms\":{\"warm\":{...},\"cold\":{...}},\n"
    "\"verify_ms\":{...} or null,\"copy_ms\":{...},\"restore_ms\":{...},\n"
    "\"method\":{\"warm\":{\"name\",\"reason\"},\"cold\":{...}},\"stayed_resident\",\"format\",\n"
    "\"file_bytes\",\"place\":{\"file_system\",\"source\",\"model\",\"rotational\"},\"cores\",\n"
    "\"first_opens\",\"memory\":{\"processes\",\"pss_bytes\",\"pss_bytes_max\"} or null,\n"
    "\"peers\":[{\"name\",\"version\",\"why_not\"}],\"rows\":[{\"step\",\"state\",\"us\":{\"min\","
    "\"median\",\n"
    "\"max\"},\"gb_per_s\",\"times_of_pread\"}]}. rows has every row of the text. stayed_resident\n"
    "is the share that stayed in the page cache when it was dropped, or null.\n\n"
    "Examples:\n"
    "  cairn bench saved/train2-9 --repeat 9 --json\n"
    "  cairn bench model.safetensors --peers --processes 4 --save . --report speed.svg";

void add_options(CommandLine& line, BenchOptions& options) {
  std::map<std::string, std::optional<IoMethod>> methods;
  for (const IoMethod method : kIoMethods) methods[std::string(name(method))] = method;
  add_path(line, options.path);
  line.add("--repeat", options.repeat, "N", "Number of runs of each step (5)").between(1u, 10000u);
  line.add_choice("--method", options.method, methods, "METHOD",
                  "How to restore: map, populate, read or direct (default: automatic)");
  line.add("--processes", options.processes, "N",
           "Also restore in N new processes at the same time: how long until\n"
           "the last has touched every page, and how much memory they hold")
      .between(1u, 1024u);
  line.add_flag("--peers", options.peers,
                "Also load the files with the Python packages safetensors and\n"
                "tensorflow");
  line.add("--save", options.save_dir, "DIR",
           "Also save the same tensors, durably, in a temporary directory\n"
           "below DIR, which needs room for them")
      .check([](const std::string& path) {
        std::error_code ignored;
        return std::filesystem::is_directory(path, ignored) ? "" : path + " is not a directory";
      });
  line.add_each(
          "--report", [&](const std::string& file) { options.reports.push_back(file); }, "FILE",
          "Also write the figures to FILE.md, as a table, or to FILE.svg, as a\n"
          "bar chart; may be given again")
      .check(bad_report_name);
  add_json(line, options.json);
  add_follow_links(line, options.follow_links);
  add_threads(line, options.exec.threads_max);
}

Result<void> measure(Bench& bench) {
  auto done = measure_steps(bench);
  if (done) done = measure_plain(bench);
  if (done) done = measure_processes(bench);
  if (done && bench.options.peers) done = measure_peers(bench);
  bench.report.stayed_resident = bench.watch.stayed_resident_max();
  return done;
}

}  // namespace

int bench(Arguments arguments) {
  if (const auto exit = run_as_process_of_bench(arguments)) return *exit;
  BenchOptions options;
  CommandLine line("cairn bench", kDescription, kFooter);
  add_options(line, options);
  if (const auto exit = line.parse(arguments)) return *exit;

  Bench bench(options);
  const auto measured = measure(bench);
  if (!measured) {
    complain(measured.error());
    return kFailed;
  }
  int exit = kYes;
  const auto note = [&exit](const Result<void>& done) {
    if (done) return;
    complain(done.error());
    exit = kFailed;
  };
  if (!options.save_dir.empty()) {
    const auto saved = measure_save(bench);
    note(saved);
    if (!saved && saved.error().code == Code::Cancelled) return kFailed;
  }
  options.json ? print_json(options, bench.report) : print_text(options, bench.report);
  for (const std::string& file : options.reports) note(write_report(file, options, bench.report));
  const std::string caveat = cold_caveat(bench.report.stayed_resident);
  if (!caveat.empty()) complain("warning: " + caveat);
  return exit;
}

}  // namespace cairn::tools
