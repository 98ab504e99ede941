// Live is a state machine that its caller turns: each slice does one small piece of work and says
// when the next one is due. Nothing here is on the path of a request; generation.h is.

#include "lib/live/state.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>
#include <utility>

#include "lib/live/seen_files.h"
#include "lib/os/watch.h"
#include "lib/try.h"

namespace cairn {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// In run(), how much is read at once: what the limit allows for so long.
constexpr auto kBurst = milliseconds(50);
constexpr std::uint64_t kUnlimitedBurstBytes = 64u << 20;

// After a slice that fills or empties page tables the thread sleeps for a moment. Then the kernel
// seldom preempts it inside of the next one, where it holds the lock of the address space.
constexpr auto kPagesPause = std::chrono::microseconds(100);

// How often to see whether a snapshot that holds a retired generation is gone.
constexpr auto kReleaseEvery = milliseconds(50);

// Whether the error says nothing about the checkpoint, so that it may be tried again as it is.
bool is_passing(const Error& error) noexcept {
  if (error.code == Code::OutOfMemory || error.code == Code::Busy || error.code == Code::Cancelled)
    return true;
  return error.code == Code::Io && (error.os_errno == EMFILE || error.os_errno == ENFILE ||
                                    error.os_errno == ENOMEM || error.os_errno == EAGAIN);
}

}  // namespace

Live::State::State(const std::filesystem::path& path, const LiveOptions& options)
    : path_(path), options_(options) {}

Live::State::~State() {
  candidate_.reset();
  release_.reset();
  internal::let_go(current_.exchange(nullptr));
  internal::let_go(previous_);
  for (Generation* const generation : retired_) internal::let_go(generation);
}

milliseconds Live::State::poll(milliseconds budget) {
  constexpr milliseconds kBudgetMax = std::chrono::hours(1);
  const std::lock_guard lock(work_);
  const Clock::time_point begin = Clock::now();
  budget = std::min(budget, kBudgetMax);
  Clock::duration idle{0};
  do {
    idle = slice({});
    const bool pauses = idle > Clock::duration::zero() && idle <= kPagesPause;
    if (pauses && Clock::now() - begin < budget) {
      std::this_thread::sleep_for(idle);
      idle = Clock::duration::zero();
    }
  } while (idle == Clock::duration::zero() && Clock::now() - begin < budget);
  return std::chrono::ceil<milliseconds>(idle);
}

void Live::State::run(const std::stop_token& stop) noexcept {
  while (!stop.stop_requested()) {
    const auto done = at_boundary([&]() -> Result<void> {
      follow(stop);
      return {};
    });
    if (!done) std::this_thread::sleep_for(kReleaseEvery);  // no memory, or no thread
  }
}

// What inotify is asked to watch is attached before each slice, so that no change after its look is
// missed.
void Live::State::follow(const std::stop_token& stop) {
  internal::WatchedName watched = internal::watched_name(path_);
  auto watch = std::make_unique<os::NameWatch>(watched.directory, watched.name);
  os::IdleThread idle_thread;
  while (!stop.stop_requested()) {
    watch->attach();
    Clock::duration idle{0};
    {
      const std::lock_guard lock(work_);
      idle = slice({.idle_thread = &idle_thread, .stop = stop});
    }
    if (idle <= kPagesPause) {
      std::this_thread::sleep_for(idle);
      continue;
    }
    const Clock::time_point until = Clock::now() + idle;
    if (!watch->wait(until, stop)) std::this_thread::sleep_until(until);
    if (Clock::now() < until) {
      const std::lock_guard lock(work_);
      next_look_ = {};
    }
    // A path that did not exist may be a directory by now.
    if (internal::WatchedName now = internal::watched_name(path_); now != watched) {
      watched = std::move(now);
      watch = std::make_unique<os::NameWatch>(watched.directory, watched.name);
    }
  }
}

Live::State::Clock::duration Live::State::slice(const Worker& worker) noexcept {
  const auto done = at_boundary([&] { return try_slice(worker); });
  if (done) return *done;
  const auto noted = at_boundary([&]() -> Result<void> {
    give_up(done.error(), worker.stop);
    return {};
  });
  if (!noted && candidate_) retire_candidate();  // there is no memory to say why
  return Clock::duration::zero();
}

Result<Live::State::Clock::duration> Live::State::try_slice(const Worker& worker) {
  const Clock::time_point now = Clock::now();
  if (now < next_pages_) return next_pages_ - now;
  if (release_slice()) {
    next_pages_ = Clock::now() + kPagesPause;
    return Clock::duration::zero();
  }
  if (candidate_) {
    if (now < next_read_) return next_read_ - now;
    CAIRN_CHECK(advance(worker));
    return Clock::duration::zero();
  }
  if (now >= next_look_) {
    next_look_ = now + options_.poll;
    CAIRN_CHECK(look());
    if (candidate_) return Clock::duration::zero();
  }
  const Clock::duration until_look = next_look_ - now;
  const std::lock_guard lock(mutex_);
  return retired_.empty() ? until_look : std::min<Clock::duration>(until_look, kReleaseEvery);
}

bool Live::State::release_slice() {
  if (!release_) release_ = next_release();
  if (!release_) return false;
  const Generation* const released = release_->generation();
  const bool is_current_again = !release_->ends() && released == current_.get();
  if (!is_current_again &&
      release_->step([&](const SeenFile& file) { return is_used(file, released); }))
    return true;
  if (release_->ends()) note_released();
  release_.reset();
  return true;
}

// ---- What is new --------------------------------------------------------------------------------

Result<void> Live::State::look() {
  auto listing = internal::list_path(path_);
  if (!listing) {
    note_error(std::move(listing).error().what);
    return {};
  }
  auto chosen = choose(*listing);
  const bool is_missing = !chosen && !listing->by_catalog && internal::files_at(path_).empty();
  note_error(is_missing ? path_.string() + ": does not exist yet" : std::string());
  if (chosen) candidate_ = std::make_unique<internal::Candidate>(*std::move(chosen));
  return {};
}

// The newest that is neither gone nor in quarantine. It may be older than others, but not older
// than the current one: so that one must come behind it in the list.
std::optional<internal::Sighting> Live::State::choose(const internal::Listing& listing) const {
  const auto [current, quarantine] = known();
  std::optional<internal::Sighting> chosen;
  for (std::size_t i = 0; i < listing.prefixes.size(); ++i) {
    internal::Sighting seen = internal::look_at(path_, listing, i, options_.follow_links);
    if (!seen.refused && seen.files.empty()) continue;
    const bool is_current = current != nullptr && current->prefix.native() == seen.prefix.native();
    if (is_current && current->identity == seen.files && internal::are_unchanged(current->opened))
      return chosen;
    if (quarantine.holds(seen.prefix, seen.files)) {
      if (is_current) return chosen;
      continue;
    }
    if (!chosen) chosen = std::move(seen);
    if (i == 0 || is_current || current == nullptr) return chosen;
  }
  return current == nullptr ? chosen : std::nullopt;
}

// ---- A candidate's stages -----------------------------------------------------------------------

Result<void> Live::State::advance(const Worker& worker) {
  switch (candidate_->stage) {
    case LiveState::Idle:
    case LiveState::Opening:
      return open_candidate();
    case LiveState::Checking:
      return check_candidate(worker);
    case LiveState::Populating:
      return populate_candidate();
    case LiveState::Preparing:
      return prepare_candidate();
  }
  return {};
}

// Nobody else lets a published generation go (release_slice), so that no holder is needed here.
Result<void> Live::State::open_candidate() {
  enter(LiveState::Opening);
  Generation* const current = current_.get();
  CAIRN_CHECK(candidate_->open(options_, current));
  if (current != nullptr && candidate_->is_same_as(*current)) {
    adopt_identity(current);
    retire_candidate();
    return {};
  }
  const std::array<const Generation*, 1> published{current};
  CAIRN_CHECK(candidate_->begin_check(published));
  give_back_previous();
  enter(LiveState::Checking);
  return {};
}

Result<void> Live::State::check_candidate(const Worker& worker) {
  const std::uint64_t rate = options_.bytes_per_second_max;
  internal::Candidate::Pace pace{.idle_thread = worker.idle_thread, .stop = worker.stop};
  if (worker.idle_thread != nullptr) {
    constexpr std::uint64_t kBurstsPerSecond = std::chrono::seconds(1) / kBurst;
    pace.bytes =
        rate == 0 ? kUnlimitedBurstBytes : std::min(kUnlimitedBurstBytes, rate / kBurstsPerSecond);
  }
  const Clock::time_point begin = Clock::now();
  CAIRN_TRY(done, candidate_->check(pace));
  account(done, begin);
  if (!done.last) return {};
  candidate_->begin_populate(options_, current_.get());
  enter(LiveState::Populating);
  return {};
}

Result<void> Live::State::populate_candidate() {
  const Clock::time_point begin = Clock::now();
  CAIRN_TRY(done, candidate_->populate());
  account(done, begin);
  next_pages_ = Clock::now() + kPagesPause;
  if (done.last) enter(LiveState::Preparing);
  return {};
}

// What is gone is looked for before the caller's function, which may take long, and after it.
Result<void> Live::State::prepare_candidate() {
  CAIRN_CHECK(candidate_->ensure_still_there());
  CAIRN_CHECK(candidate_->prepare(options_));
  CAIRN_CHECK(candidate_->ensure_still_there());
  publish();
  next_look_ = {};
  return {};
}

void Live::State::give_up(const Error& error, const std::stop_token& stop) {
  if (candidate_ == nullptr) {
    note_error(error.what);
    return;
  }
  const internal::Sighting& seen = candidate_->sighting();
  // A directory without a catalog may be one that is not written yet.
  const bool is_path_itself = !seen.by_catalog && seen.prefix.native() == path_.native();
  const bool is_not_there_yet =
      is_path_itself && candidate_->generation() == nullptr &&
      internal::watched_name(path_).directory.native() == path_.native() &&
      (error.code == Code::NotFound || error.code == Code::Unsupported);
  if (is_passing(error) || is_not_there_yet) {
    if (!stop.stop_requested()) note_error(error.what);
    retire_candidate();
  } else {
    reject(error);
  }
  next_look_ = Clock::now() + options_.poll;
}

}  // namespace cairn
