// What other threads ask for while one works: the published generation, the one for a rollback, the
// quarantine and the numbers. The lock of all this is held for moments. It is not on the path of a
// request, which only takes current_.

#include <algorithm>
#include <utility>

#include "lib/live/seen_files.h"
#include "lib/live/state.h"
#include "lib/try.h"

namespace cairn {

using internal::let_go;
using std::chrono::system_clock;

void Live::State::enter(LiveState stage) {
  const Clock::time_point now = Clock::now();
  if (candidate_->stage == LiveState::Checking) candidate_->times.check = now - stage_began_;
  if (candidate_->stage == LiveState::Populating) candidate_->times.populate = now - stage_began_;
  candidate_->stage = stage;
  stage_began_ = now;
  const std::lock_guard lock(mutex_);
  status_.state = stage;
  status_.candidate = candidate_->sighting().prefix;
  status_.done_bytes = candidate_->done_bytes;
  status_.total_bytes = candidate_->total_bytes;
}

void Live::State::account(const internal::SliceDone& done, Clock::time_point begin) {
  if (const std::uint64_t rate = options_.bytes_per_second_max; rate != 0) {
    const std::chrono::duration<double> cost(static_cast<double>(done.charged_bytes) /
                                             static_cast<double>(rate));
    next_read_ = std::max(next_read_, begin) + std::chrono::duration_cast<Clock::duration>(cost);
  }
  const std::lock_guard lock(mutex_);
  status_.done_bytes = candidate_->done_bytes;
  status_.total_bytes = candidate_->total_bytes;
  (candidate_->stage == LiveState::Checking ? status_.checked_bytes : status_.populated_bytes) +=
      done.bytes;
}

void Live::State::publish() {
  const Generation* published = nullptr;
  {
    const std::lock_guard lock(mutex_);
    retired_.reserve(retired_.size() + 1);  // nothing fails once it is published
    Generation* const next = candidate_->release();
    published = next;
    next->number = ++status_.swap_count;
    quarantine_.remove(next->prefix);
    Generation* const before = current_.exchange(next);
    if (previous_ != nullptr) retired_.push_back(previous_);
    previous_ = before;
    status_.last_swap = candidate_->times;
    status_.last_swap_at = system_clock::now();
    status_.state = LiveState::Idle;
    status_.candidate.clear();
  }
  const SwapTimes times = candidate_->times;
  candidate_.reset();
  std::uint64_t bytes = 0;
  for (const SeenFile& shard : published->shards) bytes += shard.size_bytes;
  tell({EventKind::Published,
        published->prefix.native(),
        {},
        {},
        bytes,
        times.open + times.check + times.populate + times.prepare});
}

void Live::State::tell(const Event& event) const noexcept {
  if (options_.on_event) options_.on_event(event);
}

// Also where there is no memory: then what was opened ends here.
void Live::State::retire_candidate() noexcept {
  Generation* const generation = candidate_->release();
  candidate_.reset();
  const std::lock_guard lock(mutex_);
  status_.state = LiveState::Idle;
  status_.candidate.clear();
  if (generation == nullptr) return;
  const auto kept = at_boundary([&]() -> Result<void> {
    retired_.push_back(generation);
    return {};
  });
  if (!kept) let_go(generation);
}

void Live::State::reject(const Error& error) {
  const internal::Sighting& seen = candidate_->sighting();
  internal::Quarantine::Entry entry{
      {seen.prefix, error.code, error.what, {}, seen.files, system_clock::now()}, {}};
  if (const Generation* const generation = candidate_->generation()) {
    entry.shown.digest = generation->digest;
    entry.opened = generation->opened;
  }
  {
    const std::lock_guard lock(mutex_);
    quarantine_.add(std::move(entry));
    ++status_.rejected_count;
  }
  tell({EventKind::Skipped, seen.prefix.native(), error.what});
  retire_candidate();
}

// The current one has other files by now, of the same contents. What it maps stays.
void Live::State::adopt_identity(Generation* current) {
  const std::lock_guard lock(mutex_);
  current->identity = candidate_->generation()->identity;
  current->opened = candidate_->generation()->opened;
}

// Both at one moment: a rollback changes both.
std::pair<const internal::Generation*, internal::Quarantine> Live::State::known() const {
  const std::lock_guard lock(mutex_);
  return {current_.get(), quarantine_};
}

void Live::State::note_error(std::string what) {
  const std::lock_guard lock(mutex_);
  status_.last_error = std::move(what);
}

// ---- Pages --------------------------------------------------------------------------------------

// The page cache is to hold two checkpoints in full, and not three.
void Live::State::give_back_previous() {
  const std::lock_guard lock(mutex_);
  if (previous_ == nullptr || previous_->holders.load(std::memory_order_acquire) != 1) return;
  internal::hold(previous_);
  release_ = std::make_unique<internal::PageRelease>(previous_, false);
}

std::unique_ptr<internal::PageRelease> Live::State::next_release() {
  const std::lock_guard lock(mutex_);
  if (retired_.empty() || !current_.is_settled()) return nullptr;
  const auto found = std::ranges::find_if(retired_, [](const Generation* generation) {
    return generation->holders.load(std::memory_order_acquire) == 1;
  });
  if (found == retired_.end()) return nullptr;
  auto release = std::make_unique<internal::PageRelease>(*found, true);
  retired_.erase(found);
  is_releasing_ = true;
  return release;
}

bool Live::State::is_used(const SeenFile& file, const Generation* but) const {
  const auto has = [&](const Generation* generation) {
    return generation != nullptr && generation != but &&
           std::ranges::any_of(generation->shards, [&](const SeenFile& shard) {
             return internal::is_same_file(shard, file);
           });
  };
  const std::lock_guard lock(mutex_);
  return has(current_.get()) || has(previous_) || std::ranges::any_of(retired_, has) ||
         (candidate_ && has(candidate_->generation()));
}

void Live::State::note_released() {
  const std::lock_guard lock(mutex_);
  ++status_.released_count;
  is_releasing_ = false;
}

// ---- What others ask for ------------------------------------------------------------------------

namespace {

Result<void> populate_all(const internal::Generation& generation) {
  const internal::Shards& shards = internal::OpenCheckpoint::of(generation.checkpoint).shards();
  for (std::uint32_t i = 0; i < shards.count(); ++i)
    CAIRN_CHECK(shards.populate({i, 0, shards.memory(i).size(), {}}));
  return {};
}

}  // namespace

Result<void> Live::State::rollback() {
  Generation* target = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (previous_ == nullptr) {
      return Error{Code::NotFound, 0,
                   path_.string() + ": there is no earlier checkpoint to go back to"};
    }
    target = previous_;
    internal::hold(target);
  }
  auto populated = populate_all(*target);
  auto given_up = populated ? exchange_for(target) : Result<std::string>(populated.error());
  let_go(target);
  if (!given_up) return std::move(given_up).error();
  tell({EventKind::RolledBack, *given_up});
  return {};
}

// The prefix of the one that was current.
Result<std::string> Live::State::exchange_for(Generation* target) {
  const std::lock_guard lock(mutex_);
  if (previous_ != target) {
    return Error{Code::Busy, 0,
                 path_.string() +
                     ": another checkpoint was published meanwhile; look at the "
                     "status before you try again"};
  }
  const Generation& current = *current_.get();
  std::string prefix = current.prefix.native();
  retired_.reserve(retired_.size() + 1);
  quarantine_.add({{current.prefix, Code::Cancelled, prefix + ": was rolled back by the caller",
                    current.digest, current.identity, system_clock::now()},
                   current.opened});
  retired_.push_back(current_.exchange(std::exchange(previous_, nullptr)));
  ++status_.rollback_count;
  return prefix;
}

LiveStatus Live::State::status() const {
  const std::lock_guard lock(mutex_);
  LiveStatus status = status_;
  if (const Generation* const current = current_.get()) {
    status.generation = current->number;
    status.prefix = current->prefix;
    status.digest = current->digest;
    status.warnings = current->warnings;
  }
  if (previous_ != nullptr) status.rollback = previous_->prefix;
  status.retired_count = retired_.size() + (is_releasing_ ? 1 : 0);
  status.quarantine = quarantine_.list();
  return status;
}

}  // namespace cairn
