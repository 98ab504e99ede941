#pragma once

// What a Live holds, and which thread may use it.

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "cairn/live.h"
#include "lib/live/candidate.h"
#include "lib/live/generation.h"
#include "lib/live/page_release.h"
#include "lib/live/quarantine.h"
#include "lib/live/sightings.h"

namespace cairn {

class Live::State {
 public:
  State(const std::filesystem::path& path, const LiveOptions& options);
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  internal::Generation* take_current() noexcept { return current_.take(); }
  std::chrono::milliseconds poll(std::chrono::milliseconds budget);
  void run(const std::stop_token& stop) noexcept;
  Result<void> rollback();
  LiveStatus status() const;

 private:
  using Clock = std::chrono::steady_clock;
  using Generation = internal::Generation;

  // How the thread works that polls.
  struct Worker {
    os::IdleThread* idle_thread = nullptr;
    std::stop_token stop = {};
  };

  // ---- state.cc: under work_ ----

  // Does one slice. Returns how long there is nothing to do; 0: perhaps there is more.
  Clock::duration slice(const Worker& worker) noexcept;
  void follow(const std::stop_token& stop);
  Result<Clock::duration> try_slice(const Worker& worker);
  bool release_slice();
  Result<void> look();
  std::optional<internal::Sighting> choose(const internal::Listing& listing) const;
  Result<void> advance(const Worker& worker);
  Result<void> open_candidate();
  Result<void> check_candidate(const Worker& worker);
  Result<void> populate_candidate();
  Result<void> prepare_candidate();
  void give_up(const Error& error, const std::stop_token& stop);

  // ---- published.cc: takes mutex_, which is never held while something is read or called ----

  void enter(LiveState stage);
  void account(const internal::SliceDone& done, Clock::time_point begin);
  void publish();
  void tell(const Event& event) const noexcept;
  Result<std::string> exchange_for(Generation* target);
  void reject(const Error& error);
  void retire_candidate() noexcept;
  void adopt_identity(Generation* current);
  std::pair<const Generation*, internal::Quarantine> known() const;
  void give_back_previous();
  std::unique_ptr<internal::PageRelease> next_release();
  bool is_used(const SeenFile& file, const Generation* but) const;
  void note_error(std::string what);
  void note_released();

  const std::filesystem::path path_;
  const LiveOptions options_;

  // The published word. Written under mutex_, read by any thread without it.
  internal::CurrentGeneration current_;

  std::mutex work_;  // held for a slice; what follows is used under it
  std::unique_ptr<internal::Candidate> candidate_;
  std::unique_ptr<internal::PageRelease> release_;
  Clock::time_point next_look_{};
  Clock::time_point next_read_{};   // by the limit of bytes per second
  Clock::time_point next_pages_{};  // after a pause, see kPagesPause
  Clock::time_point stage_began_{};

  mutable std::mutex mutex_;          // held for moments; what follows is used under it
  Generation* previous_ = nullptr;    // for rollback()
  std::vector<Generation*> retired_;  // published before, or rejected
  bool is_releasing_ = false;         // one more, no longer in retired_
  internal::Quarantine quarantine_;
  LiveStatus status_;  // what is not found out when it is asked for
};

}  // namespace cairn
