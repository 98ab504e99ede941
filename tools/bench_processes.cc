// The command starts itself, with words that no user gives. Such a process says when it is ready,
// waits until it is told to begin, and prints when it began and ended, by the clock that all
// processes of a machine share. It holds what it restored until its stdin is closed, so that its
// memory can be looked at.

#include "bench_processes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <fstream>
#include <string_view>

#include "child.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kWord = "--as-process-of-bench";  // then: step, PATH, method, links
constexpr unsigned kFirstOpensMin = 21;

struct Span {
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
};

// --- the process that is started -----------------------------------------------------------------

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch())
      .count();
}

bool wait_for_byte() {
  char byte = 0;
  return ::read(STDIN_FILENO, &byte, 1) == 1;
}

Result<void> open_once(const std::string& path, bool follow_links, Span& span) {
  OpenOptions options;
  options.verify = Verify::None;
  options.follow_links = follow_links;
  span.begin_ns = now_ns();
  const auto checkpoint = Checkpoint::open(path, options);
  span.end_ns = now_ns();
  if (!checkpoint) return checkpoint.error();
  return {};
}

void say(const Span& span) {
  print(fmt::format("{} {}\n", span.begin_ns, span.end_ns));
  flush_output();
}

Result<void> restore_and_hold(const std::string& path, const RestoreOptions& options) {
  Span span;
  span.begin_ns = now_ns();
  const auto restored = restore(path, options);
  if (!restored) return restored.error();
  const auto touched = touch_every_page(restored->checkpoint);
  if (!touched) return touched;
  span.end_ns = now_ns();
  say(span);
  wait_for_byte();
  return {};
}

Result<void> run(const std::vector<std::string>& words) {
  const bool follow_links = words[3] == "follow";
  print("ready\n");
  flush_output();
  if (!wait_for_byte()) return {};
  if (words[0] == "open") {
    Span span;
    const auto done = open_once(words[1], follow_links, span);
    if (done) say(span);
    return done;
  }
  RestoreOptions options;
  options.follow_links = follow_links;
  std::from_chars(words[4].data(), words[4].data() + words[4].size(), options.exec.threads_max);
  for (const IoMethod method : kIoMethods) {
    if (name(method) == words[2]) options.method = method;
  }
  return restore_and_hold(words[1], options);
}

// --- the process that starts it ------------------------------------------------------------------

Result<Child> start(const BenchOptions& options, const char* step) {
  return Child::start({"/proc/self/exe", "bench", std::string(kWord), step, options.path,
                       std::string(options.method ? name(*options.method) : "auto"),
                       options.follow_links ? "follow" : "stay",
                       std::to_string(options.exec.threads_max)});
}

Result<Span> read_span(Child& child) {
  const auto line = child.read_line();
  if (!line) return line.error();
  Span span;
  const char* const end = line->data() + line->size();
  const auto begin = std::from_chars(line->data(), end, span.begin_ns);
  if (begin.ptr != end && std::from_chars(begin.ptr + 1, end, span.end_ns).ec == std::errc())
    return span;
  return Error{Code::Io, 0, "a process of 'cairn bench' said something else than times"};
}

// From /proc/PID/smaps_rollup; 0: the system does not tell.
std::uint64_t proportional_bytes(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/smaps_rollup", pid));
  for (std::string word; file >> word;) {
    std::uint64_t kibibytes = 0;
    if (word == "Pss:" && file >> kibibytes) return kibibytes << 10;
  }
  return 0;
}

std::optional<Shares> shares_of(const std::vector<Child>& children) {
  Shares shares;
  for (const Child& child : children) {
    const std::uint64_t bytes = proportional_bytes(child.pid());
    if (bytes == 0) return std::nullopt;
    shares.sum_bytes += bytes;
    shares.largest_bytes = std::max(shares.largest_bytes, bytes);
  }
  return shares;
}

// From the first that begins to the last that ends.
Result<double> run_together(const Bench& bench, const char* step, unsigned count,
                            std::optional<Shares>& shares) {
  std::vector<Child> children;
  for (unsigned i = 0; i < count; ++i) {
    auto child = start(bench.options, step);
    if (!child) return std::move(child).error();
    children.push_back(*std::move(child));
  }
  for (Child& child : children) {
    const auto ready = child.read_line();
    if (!ready) return ready.error();
  }
  for (Child& child : children) child.tell();
  std::optional<Span> all;
  for (Child& child : children) {
    const auto span = read_span(child);
    if (!span) return span.error();
    if (!all) all = *span;
    all->begin_ns = std::min(all->begin_ns, span->begin_ns);
    all->end_ns = std::max(all->end_ns, span->end_ns);
  }
  shares = shares_of(children);
  return static_cast<double>(all->end_ns - all->begin_ns) * 1e-9;
}

Result<void> measure_together(Bench& bench, Figure row, unsigned count) {
  std::optional<Shares> shares;
  for (const PageCache cache : {PageCache::Warm, PageCache::Cold}) {
    const auto seconds = bench.watch.collect(
        cache, bench.options.repeat, [&] { return run_together(bench, "restore", count, shares); });
    if (!seconds) return seconds.error();
    row.state = cache == PageCache::Warm ? "warm" : "cold";
    row.seconds = *seconds;
    bench.report.figures.push_back(row);
  }
  if (bench.options.processes != 0) bench.report.shares = shares;
  return {};
}

}  // namespace

std::optional<int> run_as_process_of_bench(Arguments arguments) {
  const std::vector<std::string> words(arguments.begin(), arguments.end());
  if (words.size() != 6 || words[0] != kWord) return std::nullopt;
  const auto done = run({words.begin() + 1, words.end()});
  if (done) return kYes;
  complain(done.error());
  return kFailed;
}

Result<void> measure_first_opens(Bench& bench) {
  const unsigned count = std::max(kFirstOpensMin, bench.options.repeat);
  std::optional<Shares> ignored;
  const auto seconds = bench.watch.collect(PageCache::Warm, count,
                                           [&] { return run_together(bench, "open", 1, ignored); });
  if (!seconds) return seconds.error();
  bench.report.opened_first = count;
  bench.report.figures.push_back({"open", "first", Group::Cairn, 0, *seconds});
  return {};
}

Result<void> measure_processes(Bench& bench) {
  const std::uint64_t bytes = bench.report.bytes;
  const unsigned count = bench.options.processes;
  auto done = measure_together(bench, {"new process", "", Group::Cairn, bytes, {}}, 1);
  if (done && count != 0)
    done = measure_together(
        bench,
        {fmt::format("{} process{}", count, count == 1 ? "" : "es"), "", Group::Cairn, 0, {}},
        count);
  return done;
}

}  // namespace cairn::tools
