#include "cairn/live.h"

#include <string>
#include <utility>

#include "lib/live/state.h"
#include "lib/try.h"

namespace cairn {
namespace {

constexpr std::chrono::milliseconds kPollMax = std::chrono::hours(24);

}  // namespace

// ---- Snapshot -----------------------------------------------------------------------------------

const Checkpoint& Snapshot::checkpoint() const& noexcept {
  CAIRN_ASSERT(generation_ != nullptr);
  return generation_->checkpoint;
}

std::uint64_t Snapshot::generation() const noexcept {
  CAIRN_ASSERT(generation_ != nullptr);
  return generation_->number;
}

const std::optional<Digest128>& Snapshot::digest() const& noexcept {
  CAIRN_ASSERT(generation_ != nullptr);
  return generation_->digest;
}

void* Snapshot::any_model() const noexcept {
  CAIRN_ASSERT(generation_ != nullptr);
  return generation_->model.get();
}

Snapshot::Snapshot(const Snapshot& other) noexcept : generation_(other.generation_) {
  internal::hold(generation_);
}

Snapshot::Snapshot(Snapshot&& other) noexcept
    : generation_(std::exchange(other.generation_, nullptr)) {}

Snapshot& Snapshot::operator=(Snapshot other) noexcept {
  std::swap(generation_, other.generation_);
  return *this;
}

Snapshot::~Snapshot() { internal::let_go(generation_); }

// ---- Live ---------------------------------------------------------------------------------------

Result<Live> Live::open(const std::filesystem::path& path, const LiveOptions& options) noexcept {
  return at_boundary([&]() -> Result<Live> {
    if (options.poll < std::chrono::milliseconds(1) || options.poll > kPollMax) {
      return Error{Code::Invalid, 0,
                   path.string() + ": polls every " + std::to_string(options.poll.count()) +
                       " ms; it must be 1 ms at least, and a day at most"};
    }
    return Live(std::make_unique<State>(path, options));
  });
}

Snapshot Live::current() const noexcept { return Snapshot(state_->take_current()); }

std::chrono::milliseconds Live::poll(std::chrono::milliseconds budget) noexcept {
  return state_->poll(budget);
}

void Live::run(std::stop_token stop) noexcept { state_->run(stop); }

Result<void> Live::rollback() noexcept {
  return at_boundary([&] { return state_->rollback(); });
}

Result<LiveStatus> Live::status() const noexcept {
  return at_boundary([&]() -> Result<LiveStatus> { return state_->status(); });
}

Live::Live(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Live::Live(Live&&) noexcept = default;
Live& Live::operator=(Live&&) noexcept = default;
Live::~Live() = default;

}  // namespace cairn
