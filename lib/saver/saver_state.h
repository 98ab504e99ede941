#pragma once

// What stands behind a Saver: the directory, its options, and a save that may be under way.
// saver.cc is the public handle, saver_save.cc saves, saver_async.cc does so in a thread of its
// own, saver_prune.cc pins, and removes what retention does not keep.

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cairn/saver.h"
#include "format/cairn/journal.h"
#include "lib/os/file.h"
#include "lib/saver/history.h"
#include "lib/saver/pending.h"
#include "lib/saver/retention.h"
#include "lib/saver/sharing.h"
#include "lib/write/lock.h"

namespace cairn {

class Saver::State {
 public:
  State(std::filesystem::path dir, os::Directory directory, SaverOptions options)
      : dir_(std::move(dir)), directory_(std::move(directory)), options_(std::move(options)) {
    opened_s_ = now_s();
  }
  ~State() { join(); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  const ExecOptions& exec_of(const SaveOptions& what) const noexcept {
    return what.exec ? *what.exec : options_.exec;
  }
  Result<Saved> save(std::string_view name, internal::SaveContents contents,
                     const SaveOptions& what);
  Result<PendingSave> save_async(std::string_view name, std::span<const NamedTensor> tensors,
                                 Memory memory, const SaveOptions& what);
  Result<std::vector<std::filesystem::path>> last_checkpoints() const;
  Result<void> pin(const std::filesystem::path& prefix, bool pinned);
  Result<std::vector<RetentionDecision>> prune(bool dry_run);
  std::span<const std::string> warnings() const noexcept { return warnings_; }

  // The answer of `todo`, and a warning where that was `done` elsewhere than the path says.
  template <class Todo>
  auto noting(const char* done, Todo todo) {
    warnings_.clear();
    auto answer = todo();
    auto elsewhere = answer ? moved(done) : std::nullopt;
    if (elsewhere) warnings_.push_back(*std::move(elsewhere));
    return answer;
  }

 private:
  // What is decided before the first byte is written.
  struct Plan {
    std::string base;
    WriterOptions writer;
    internal::History history;  // as it will be, the new checkpoint in it
    format::JournalFacts journal;
    std::vector<std::string> warnings;
    std::optional<std::string> latest;    // of the catalog before; empty: it lies elsewhere
    std::optional<internal::Parts> from;  // what it shares shards with
    internal::Sharing sharing;
  };

  // What every call needs.
  internal::Place place() const {
    return {dir_, directory_, options_.latest_filename, options_.follow_links};
  }
  internal::LockWait lock_wait(const ExecOptions& exec) const {
    return {options_.lock_wait, exec.stop};
  }
  internal::LockWait lock_wait() const { return lock_wait(options_.exec); }
  double now_s() const;
  std::optional<std::string> moved(const std::string& done) const;
  internal::KeepState grid_of(const internal::History& history) const;
  internal::RetentionResult apply_retention(const internal::History& history,
                                            internal::RemovalLimit pace) const;

  // ---- saver_save.cc ----
  Result<std::string> checked_base(std::string_view name, const SaveOptions& what) const;
  Result<Plan> plan_of(const std::string& base, const SaveOptions& what,
                       std::span<const std::string> names) const;
  Result<Saved> run(const std::string& base, internal::SaveContents contents,
                    const SaveOptions& what, const ExecOptions& exec) const;
  Result<std::optional<internal::Parts>> open_base(Plan& plan, const SaveOptions& what) const;
  Result<void> share(Plan& plan, const internal::SaveContents& contents, const SaveOptions& what,
                     const ExecOptions& exec) const;
  Result<void> write_checkpoint(Plan& plan, internal::SaveContents contents,
                                const ExecOptions& exec, Saved& saved) const;
  Result<void> catch_up(Plan& plan, const SaveOptions& what) const;

  // ---- saver_async.cc ----
  void join();
  Result<void> wait_for_pending();

  // ---- saver_prune.cc ----
  Result<std::vector<std::string>> recover_from_journal();
  Result<void> add_unlisted(const internal::History& history, std::span<const std::string> names,
                            std::multimap<double, RetentionDecision>& decisions) const;
  Result<std::map<std::string, std::string>> release(internal::History history,
                                                     const internal::RetentionResult& result,
                                                     std::span<const std::string> names) const;

  std::filesystem::path dir_;
  os::Directory directory_;
  SaverOptions options_;
  double opened_s_ = 0;
  std::vector<std::string> warnings_;
  internal::StagingMemory staging_;
  std::shared_ptr<PendingSave::State> pending_;
  std::thread thread_;
};

}  // namespace cairn
