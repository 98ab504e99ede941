// What a server would feel, measured: a checked restore by the way that suits the machine, and what
// it is made of: opening, the first touch of every page, verifying, copying into the caller's
// memory. Touch and copy run with Verify::None, so that the three do not contain one another.

#include <fmt/format.h>

#include <map>
#include <optional>
#include <string>

#include "cairn/checkpoint.h"
#include "cairn/restore.h"
#include "measure.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Measure what a server needs: open; map and touch every page; verify; copy into the\n"
    "caller's memory; restore, checked if checksums are stored. Each with a warm and a cold\n"
    "page cache, as minimum, median and maximum.";

constexpr const char* kFooter =
    "Exit status: 0 measured, 2 it could not be done.\n\n"
    "warm: the step ran once before, untimed. cold: before each run the shards were synced\n"
    "and dropped from the page cache (posix_fadvise). touch and copy do not check; verify\n"
    "does. open reads only the index and is measured warm. restore brings in every byte and\n"
    "checks it. It chooses its method by page cache, file system, size and memory, unless you\n"
    "give --method. If no checksums are stored, as in .safetensors files, nothing is checked:\n"
    "verify is left out, and unchecked_bytes says how many bytes restore brought in without a\n"
    "check.\n\n"
    "JSON: {\"path\",\"bytes\",\"unchecked_bytes\",\"tensors\",\"repeat\",\n"
    "\"open_us\":{\"min\",\"median\",\"max\"},\"touch_ms\":{\"warm\":{...},\"cold\":{...}},\n"
    "\"verify_ms\":{...} or null,\"copy_ms\":{...},\"restore_ms\":{...},\n"
    "\"method\":{\"warm\":{\"name\",\"reason\"},\"cold\":{...}},\"stayed_resident\"}.\n"
    "stayed_resident is the share that stayed in the page cache when it was dropped, or null.\n\n"
    "Example:\n"
    "  cairn bench saved/train2-9 --repeat 9 --json";

struct Options {
  std::string path;
  unsigned repeat = 5;
  bool json = false;
  bool follow_links = false;
  std::optional<IoMethod> method;
  ExecOptions exec;
};

struct WarmCold {
  Spread warm;
  Spread cold;
};

// How the last restore came about.
struct Chosen {
  std::string method;
  std::string reason;
};

struct Report {
  std::uint64_t bytes = 0;
  std::uint64_t unchecked_bytes = 0;
  std::size_t tensors = 0;
  Spread open;
  WarmCold touch;
  std::optional<WarmCold> verify;  // nothing: no sum is stored
  WarmCold copy;
  WarmCold restore;
  Chosen warm_method;
  Chosen cold_method;
  std::optional<double> stayed_resident;  // of what was dropped; nothing: unknown
};

// Times steps on a checkpoint that is opened anew, without checks, for every run.
class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options), watch_(options.path, options.repeat, options.follow_links) {
    open_.verify = Verify::None;
    open_.follow_links = options.follow_links;
  }

  Result<Report> run() {
    const auto first = Checkpoint::open(options_.path, open_);
    if (!first) return first.error();
    print_warnings(first->warnings());
    const auto seen = first->verify(options_.exec);
    if (!seen) return seen.error();
    Report report{.bytes = tensor_bytes(*first),
                  .unchecked_bytes = seen->unchecked_bytes,
                  .tensors = first->tensor_count()};
    if (seen->bytes_checked != 0 || seen->unchecked_bytes == 0) report.verify.emplace();
    Copier copier(*first);
    const ExecOptions& exec = options_.exec;
    const auto opened = watch_.time(
        PageCache::Warm,
        {[] { return Result<void>(); }, [this] { return open(); }, [this] { close(); }});
    if (!opened) return opened.error();
    report.open = *opened;
    auto done = step(report.touch, [this] { return touch_every_page(*checkpoint_); });
    if (done && report.verify) done = step(*report.verify, [&] { return verify_all(exec); });
    if (done) done = step(report.copy, [&] { return copier.copy(*checkpoint_, exec); });
    if (done) done = restores(report);
    if (!done) return done.error();
    report.stayed_resident = watch_.stayed_resident_max();
    return report;
  }

 private:
  Result<void> open() {
    auto checkpoint = Checkpoint::open(options_.path, open_);
    if (!checkpoint) return checkpoint.error();
    checkpoint_ = *std::move(checkpoint);
    return {};
  }

  void close() { checkpoint_.reset(); }

  Result<void> verify_all(const ExecOptions& exec) {
    const auto verified = checkpoint_->verify(exec);
    if (!verified) return verified.error();
    if (verified->damage.empty()) return {};
    return Error{Code::Corrupt, 0, fmt::format("{} is damaged: see 'cairn verify'", options_.path)};
  }

  Result<void> step(WarmCold& out, std::function<Result<void>()> run) {
    const Trial trial{[this] { return open(); }, std::move(run), [this] { close(); }};
    const auto warm = watch_.time(PageCache::Warm, trial);
    if (!warm) return warm.error();
    const auto cold = watch_.time(PageCache::Cold, trial);
    if (!cold) return cold.error();
    out = {*warm, *cold};
    return {};
  }

  Result<void> restores(Report& report) {
    RestoreOptions how;
    how.method = options_.method;
    how.follow_links = options_.follow_links;
    how.exec = options_.exec;
    Chosen chosen;
    const Trial trial{[] { return Result<void>(); },
                      [&]() -> Result<void> {
                        auto restored = restore(options_.path, how);
                        if (!restored) return restored.error();
                        chosen = {std::string(name(restored->method)), restored->reason};
                        checkpoint_ = std::move(restored->checkpoint);
                        return {};
                      },
                      [this] { close(); }};
    const auto warm = watch_.time(PageCache::Warm, trial);
    if (!warm) return warm.error();
    report.warm_method = chosen;
    const auto cold = watch_.time(PageCache::Cold, trial);
    if (!cold) return cold.error();
    report.cold_method = chosen;
    report.restore = {*warm, *cold};
    return {};
  }

  const Options& options_;
  Stopwatch watch_;
  OpenOptions open_;
  std::optional<Checkpoint> checkpoint_;
};

void add_spread(Json& json, std::string_view key, const Spread& seconds, double unit) {
  json.begin_object(key).decimal("min", seconds.min * unit);
  json.decimal("median", seconds.median * unit).decimal("max", seconds.max * unit).end_object();
}

void add_warm_cold(Json& json, std::string_view key, const WarmCold& both) {
  json.begin_object(key);
  add_spread(json, "warm", both.warm, 1e3);
  add_spread(json, "cold", both.cold, 1e3);
  json.end_object();
}

void add_chosen(Json& json, std::string_view key, const Chosen& chosen) {
  json.begin_object(key).text("name", chosen.method).text("reason", chosen.reason).end_object();
}

void print_json(const Options& options, const Report& report) {
  Json json;
  json.begin_object().text("path", options.path).number("bytes", report.bytes);
  json.number("unchecked_bytes", report.unchecked_bytes);
  json.number("tensors", std::uint64_t{report.tensors});
  json.number("repeat", std::uint64_t{options.repeat});
  add_spread(json, "open_us", report.open, 1e6);
  add_warm_cold(json, "touch_ms", report.touch);
  report.verify ? add_warm_cold(json, "verify_ms", *report.verify)
                : static_cast<void>(json.null("verify_ms"));
  add_warm_cold(json, "copy_ms", report.copy);
  add_warm_cold(json, "restore_ms", report.restore);
  json.begin_object("method");
  add_chosen(json, "warm", report.warm_method);
  add_chosen(json, "cold", report.cold_method);
  json.end_object();
  report.stayed_resident ? json.decimal("stayed_resident", *report.stayed_resident)
                         : json.null("stayed_resident");
  json.end_object().finish();
}

void print_row(std::string_view label, const Spread& seconds, double unit, std::string_view name) {
  print(fmt::format("{:<14}{:>11.3f}{:>11.3f}{:>11.3f}  {}\n", label, seconds.min * unit,
                    seconds.median * unit, seconds.max * unit, name));
}

void print_text(const Options& options, const Report& report) {
  print(fmt::format("{}: {}, {} bytes, {} of each\n\n", safe(options.path),
                    count_of(report.tensors, "tensor"), grouped(report.bytes),
                    count_of(options.repeat, "run")));
  print(fmt::format("{:<14}{:>11}{:>11}{:>11}\n", "", "min", "median", "max"));
  print_row("open", report.open, 1e6, "us");
  print_row("touch, warm", report.touch.warm, 1e3, "ms");
  print_row("touch, cold", report.touch.cold, 1e3, "ms");
  if (report.verify) {
    print_row("verify, warm", report.verify->warm, 1e3, "ms");
    print_row("verify, cold", report.verify->cold, 1e3, "ms");
  }
  print_row("copy, warm", report.copy.warm, 1e3, "ms");
  print_row("copy, cold", report.copy.cold, 1e3, "ms");
  print_row("restore, warm", report.restore.warm, 1e3, "ms");
  print_row("restore, cold", report.restore.cold, 1e3, "ms");
  print(fmt::format("\nrestore, warm: {}: {}\nrestore, cold: {}: {}\n", report.warm_method.method,
                    safe(report.warm_method.reason), report.cold_method.method,
                    safe(report.cold_method.reason)));
  if (report.unchecked_bytes != 0) {
    print(fmt::format(
        "{} of {} bytes have no stored checksums: verify and restore did not check them\n",
        grouped(report.unchecked_bytes), grouped(report.bytes)));
  }
  print(
      "\nwarm: the step ran once before, untimed, and left the shards in the page cache.\n"
      "cold: before each run the shards were synced and dropped with posix_fadvise(DONTNEED).\n");
}

}  // namespace

int bench(Arguments arguments) {
  std::map<std::string, std::optional<IoMethod>> methods;
  for (const IoMethod method :
       {IoMethod::Map, IoMethod::Populate, IoMethod::Read, IoMethod::Direct})
    methods[std::string(name(method))] = method;
  Options options;
  CommandLine line("cairn bench", kDescription, kFooter);
  add_path(line, options.path);
  line.add("--repeat", options.repeat, "N", "Number of runs of each step (5)").between(1u, 10000u);
  line.add_choice("--method", options.method, methods, "METHOD",
                  "How to restore: map, populate, read or direct (default: automatic)");
  add_json(line, options.json);
  add_follow_links(line, options.follow_links);
  add_threads(line, options.exec.threads_max);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto report = Bench(options).run();
  if (!report) {
    complain(report.error());
    return kFailed;
  }
  options.json ? print_json(options, *report) : print_text(options, *report);
  const std::string caveat = cold_caveat(report->stayed_resident);
  if (!caveat.empty()) complain("warning: " + caveat);
  return kYes;
}

}  // namespace cairn::tools
