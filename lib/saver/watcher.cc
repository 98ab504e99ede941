// The Watcher: when to look at the catalog. watch_state.cc says which entries are new.

#include "cairn/watcher.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/open/catalog.h"
#include "lib/os/watch.h"
#include "lib/saver/catalog_file.h"
#include "lib/saver/watch_state.h"
#include "lib/try.h"

namespace cairn {
namespace {

using Clock = std::chrono::steady_clock;

// In units of WatcherOptions::poll: how long what may be a moment's state is borne, and how often
// to look although inotify would tell.
constexpr int kPatiencePolls = 10;
constexpr int kQuietPolls = 30;

constexpr std::chrono::milliseconds kPollMax = std::chrono::hours(24);

// The first line of a cursor.
constexpr std::string_view kEveryMark = "cairn-cursor 1 every\n";
constexpr std::string_view kLatestMark = "cairn-cursor 1 latest\n";

// `timeout` may be the largest there is.
Clock::time_point deadline_of(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds kForEver = std::chrono::hours(24 * 365 * 100);
  return Clock::now() + std::clamp(timeout, std::chrono::milliseconds(0), kForEver);
}

}  // namespace

class Watcher::State {
 public:
  State(const std::filesystem::path& dir, const WatcherOptions& options)
      : dir_(dir),
        options_(options),
        state_(dir, options.poll * kPatiencePolls, options.follow_links),
        watch_(dir, options.latest_filename) {}

  Result<void> restore(std::string_view cursor) {
    cursor_ = cursor;
    if (cursor.empty()) return {};
    const std::string_view mark = options_.only_latest ? kLatestMark : kEveryMark;
    bool good = cursor.starts_with(mark);
    if (good) cursor.remove_prefix(mark.size());
    if (options_.only_latest) {
      latest_ = cursor;
    } else {
      good = good && state_.restore(cursor);
    }
    if (good) return {};
    return Error{Code::Invalid, 0,
                 dir_.string() + ": the given cursor does not come from a Watcher" +
                     (options_.only_latest ? " that returns the latest checkpoint only" : "")};
  }

  Result<Published> next(std::chrono::milliseconds timeout, const std::stop_token& stop) {
    const Clock::time_point deadline = deadline_of(timeout);
    while (true) {
      if (stop.stop_requested())
        return Error{Code::Cancelled, 0, dir_.string() + ": the wait was cancelled by the caller"};
      watch_.attach();
      const bool last_look = Clock::now() >= deadline;
      CAIRN_TRY(found, look(last_look));
      if (found || last_look) {
        for (const SkippedCheckpoint& each : skipped_) tell(each);
        return Published{std::move(found), std::exchange(skipped_, {})};
      }
      CAIRN_CHECK(watch_.wait(std::min(deadline, Clock::now() + pause()), stop));
    }
  }

  const std::string& cursor() const noexcept { return cursor_; }

 private:
  // A checkpoint to give, if there is one. An unreadable catalog may be one that is being written
  // in place, and is borne for a while.
  Result<std::optional<std::filesystem::path>> look(bool last_look) {
    internal::OpenAttempt attempt;
    const auto catalog = internal::read_catalog(dir_, options_.latest_filename, attempt);
    if (catalog) {
      unreadable_since_.reset();
      return options_.only_latest ? latest(*catalog) : next_whole(*catalog);
    }
    const Clock::time_point now = Clock::now();
    if (!unreadable_since_) unreadable_since_ = now;
    if (!last_look && now - *unreadable_since_ < options_.poll * kPatiencePolls)
      return std::optional<std::filesystem::path>();
    unreadable_since_.reset();
    return catalog.error();
  }

  std::optional<std::filesystem::path> next_whole(const std::optional<CheckpointState>& catalog) {
    if (catalog) state_.update(*catalog);
    auto found = state_.advance(skipped_);
    if (found) cursor_ = std::string(kEveryMark) + state_.text();
    return found;
  }

  std::optional<std::filesystem::path> latest(const std::optional<CheckpointState>& catalog) {
    if (!catalog || catalog->model_checkpoint_path.native() == latest_.native() ||
        !internal::checkpoint_exists(dir_, catalog->model_checkpoint_path))
      return std::nullopt;
    latest_ = catalog->model_checkpoint_path;
    cursor_ = std::string(kLatestMark) + latest_.string();
    return latest_;
  }

  void tell(const SkippedCheckpoint& skipped) const noexcept {
    if (options_.on_event)
      options_.on_event({EventKind::Skipped, skipped.prefix.native(), skipped.why});
  }

  Clock::duration pause() const {
    const bool quiet = watch_.sees_all() && !state_.is_waiting() && !unreadable_since_;
    return quiet ? options_.poll * kQuietPolls : options_.poll;
  }

  std::filesystem::path dir_;
  WatcherOptions options_;
  internal::WatchState state_;    // of every checkpoint
  std::filesystem::path latest_;  // with only_latest: what was given last
  std::string cursor_;
  std::vector<SkippedCheckpoint> skipped_;
  os::NameWatch watch_;
  std::optional<Clock::time_point> unreadable_since_;
};

Result<Watcher> Watcher::open(const std::filesystem::path& dir,
                              const WatcherOptions& options) noexcept {
  return at_boundary([&]() -> Result<Watcher> {
    if (options.poll < std::chrono::milliseconds(1) || options.poll > kPollMax) {
      return Error{Code::Invalid, 0,
                   dir.string() + ": polls every " + std::to_string(options.poll.count()) +
                       " ms; it must be 1 ms at least, and a day at most"};
    }
    CAIRN_CHECK(internal::check_catalog_name(dir, options.latest_filename));
    auto state = std::make_unique<State>(dir, options);
    CAIRN_CHECK(state->restore(options.cursor));
    return Watcher(std::move(state));
  });
}

Result<Published> Watcher::next(std::chrono::milliseconds timeout, std::stop_token stop) noexcept {
  return at_boundary([&] { return state_->next(timeout, stop); });
}

const std::string& Watcher::cursor() const noexcept { return state_->cursor(); }

Watcher::Watcher(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Watcher::Watcher(Watcher&&) noexcept = default;
Watcher& Watcher::operator=(Watcher&&) noexcept = default;
Watcher::~Watcher() = default;

}  // namespace cairn
