#pragma once

// A checkpoint on its way to be published: opened, checked and populated slice by slice. What to do
// next, and whether it is time for it, is for the caller (state.cc).

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "cairn/live.h"
#include "lib/live/generation.h"
#include "lib/live/sightings.h"
#include "lib/os/idle_thread.h"
#include "lib/read/check.h"
#include "lib/read/scan_plan.h"

namespace cairn::internal {

// What a slice came to.
struct SliceDone {
  std::uint64_t bytes = 0;          // that were read or populated
  std::uint64_t charged_bytes = 0;  // of them: that count for the limit of bytes per second
  bool last = false;                // of the stage
};

class Candidate {
 public:
  explicit Candidate(Sighting sighting) noexcept : sighting_(std::move(sighting)) {}
  Candidate(const Candidate&) = delete;
  Candidate& operator=(const Candidate&) = delete;
  ~Candidate() { let_go(generation_); }

  const Sighting& sighting() const noexcept { return sighting_; }
  Generation* generation() const noexcept { return generation_; }  // nullptr: not opened yet
  Generation* release() noexcept { return std::exchange(generation_, nullptr); }

  LiveState stage = LiveState::Opening;
  SwapTimes times;
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;

  // Errors: those of Checkpoint::open, and Invalid for what was not expected. `current` may be
  // nullptr.
  Result<void> open(const LiveOptions& options, const Generation* current);

  // Whether it is `current` itself: its files were copied, touched, imported or pinned.
  bool is_same_as(const Generation& current) const;

  // Bytes of shards that are files of `published` too and were compared there with the same sums
  // are left out. Errors: those of Checkpoint::verify.
  Result<void> begin_check(std::span<const Generation* const> published);

  // Reads about `bytes`, at least one window, on the idle thread if there is one. Corrupt: damage;
  // at the last slice.
  struct Pace {
    std::uint64_t bytes = 0;
    os::IdleThread* idle_thread = nullptr;
    std::stop_token stop = {};
  };
  Result<SliceDone> check(const Pace& pace);

  // Decides whether there is memory for the pages, and warns if there is none.
  void begin_populate(const LiveOptions& options, const Generation* current);
  Result<SliceDone> populate();

  // The model. Errors: those of the caller's function.
  Result<void> prepare(const LiveOptions& options);

  // Errors: NotFound, if the files are no longer what was opened.
  Result<void> ensure_still_there() const;

 private:
  Result<std::uint64_t> check_windows(std::size_t count, const Pace& pace);
  Result<void> finish_check(const std::stop_token& stop);
  std::uint64_t shard_bytes(std::uint32_t shard) const noexcept;
  const OpenCheckpoint& opened() const noexcept {
    return OpenCheckpoint::of(generation_->checkpoint);
  }

  Sighting sighting_;
  Generation* generation_ = nullptr;
  std::vector<std::vector<Piece>> known_;  // of each shard: the pieces that were checked before
  std::optional<ScanPlan> plan_;
  std::optional<CompleteCheck> check_;
  std::array<std::vector<std::byte>, 2> buffers_;  // of the idle thread, and of the calling one
  std::size_t next_step_ = 0;
  std::chrono::steady_clock::time_point check_began_;
  bool populates_ = false;
  std::uint32_t shard_ = 0;         // where populate() is
  std::uint64_t offset_bytes_ = 0;  // in it
  bool reads_ = false;              // not all of the shard is in the page cache
};

}  // namespace cairn::internal
