// A checked restore by the way that suits the machine, and what it is made of: opening, the first
// touch of every page, verifying, copying into the caller's memory. Touch and copy run with
// Verify::None, so that the three do not contain one another.

#include "bench_steps.h"

#include <fmt/format.h>
#include <sched.h>

#include <filesystem>

#include "bench_processes.h"
#include "output.h"

namespace cairn::tools {
namespace {

unsigned core_count() {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&allowed));
}

// Times steps on a checkpoint that is opened anew, without checks, for every run.
class Steps {
 public:
  explicit Steps(Bench& bench) : bench_(bench), options_(bench.options) {
    open_.verify = Verify::None;
    open_.follow_links = options_.follow_links;
  }

  Result<void> run() {
    const auto first = Checkpoint::open(options_.path, open_);
    if (!first) return first.error();
    print_warnings(first->warnings());
    const auto seen = first->verify(options_.exec);
    if (!seen) return seen.error();
    describe(*first, *seen);
    Copier copier(*first);
    const ExecOptions& exec = options_.exec;
    auto done = opens();
    if (done) done = measure_first_opens(bench_);
    if (done) done = step("touch", [this] { return touch_every_page(*checkpoint_); });
    const bool any_checked = seen->bytes_checked != 0 || seen->unchecked_bytes == 0;
    if (done && any_checked) done = step("verify", [this] { return verify_all(); });
    if (done) done = step("copy", [&] { return copier.copy(*checkpoint_, exec); });
    if (done) done = restores();
    return done;
  }

 private:
  void describe(const Checkpoint& checkpoint, const Verification& seen) {
    BenchReport& report = bench_.report;
    report.format = name(checkpoint.format());
    report.bytes = tensor_bytes(checkpoint);
    report.unchecked_bytes = seen.unchecked_bytes;
    report.tensors = checkpoint.tensor_count();
    report.cores = options_.exec.threads_max != 0 ? options_.exec.threads_max : core_count();
    const auto files = shard_files(checkpoint);
    for (const auto& file : files) {
      std::error_code failed;
      const auto size = std::filesystem::file_size(file, failed);
      if (!failed) report.file_bytes += size;
    }
    report.place = place_of(files.empty() ? std::filesystem::path(options_.path) : files.front());
  }

  Result<void> open() {
    auto checkpoint = Checkpoint::open(options_.path, open_);
    if (!checkpoint) return checkpoint.error();
    checkpoint_ = *std::move(checkpoint);
    return {};
  }

  void close() { checkpoint_.reset(); }

  Result<void> opens() {
    const auto seconds = bench_.watch.time(
        PageCache::Warm,
        {[] { return Result<void>(); }, [this] { return open(); }, [this] { close(); }});
    if (!seconds) return seconds.error();
    bench_.report.figures.push_back({"open", "", Group::Cairn, 0, *seconds});
    return {};
  }

  Result<void> verify_all() {
    const auto verified = checkpoint_->verify(options_.exec);
    if (!verified) return verified.error();
    if (verified->damage.empty()) return {};
    return Error{Code::Corrupt, 0, fmt::format("{} is damaged: see 'cairn verify'", options_.path)};
  }

  Result<void> step(const char* step, std::function<Result<void>()> run) {
    return bench_.add_warm_and_cold(
        {step, "", Group::Cairn, bench_.report.bytes, {}},
        {[this] { return open(); }, std::move(run), [this] { close(); }});
  }

  Result<void> restores() {
    RestoreOptions how;
    how.method = options_.method;
    how.follow_links = options_.follow_links;
    how.exec = options_.exec;
    BenchReport& report = bench_.report;
    // The cold runs come last: the first of them ends what is said of the warm ones.
    unsigned runs = 0;
    const auto restore_all = [&]() -> Result<void> {
      auto restored = restore(options_.path, how);
      if (!restored) return restored.error();
      const Chosen chosen{std::string(name(restored->method)), restored->reason};
      (runs++ <= options_.repeat ? report.warm_method : report.cold_method) = chosen;
      if (report.place.file_system.empty()) report.place.file_system = restored->file_system;
      checkpoint_ = std::move(restored->checkpoint);
      return {};
    };
    return bench_.add_warm_and_cold(
        {"restore", "", Group::Cairn, report.bytes, {}},
        {[] { return Result<void>(); }, restore_all, [this] { close(); }});
  }

  Bench& bench_;
  const BenchOptions& options_;
  OpenOptions open_;
  std::optional<Checkpoint> checkpoint_;
};

}  // namespace

Result<void> measure_steps(Bench& bench) { return Steps(bench).run(); }

}  // namespace cairn::tools
