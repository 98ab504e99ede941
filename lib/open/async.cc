// Calls in the background. Two ways lead to the result: the thread or the executor's task that was
// made for it, and wait(), which does the work itself where nobody has begun. Whoever comes first
// does it. So an executor without a free thread costs time and never the result, and a task that
// comes too late finds nothing to do.
//
// Rejected: std::future of std::async. Its destructor waits for the whole call, nothing can stop
// it, and a pool's only thread that waits for its own task waits for ever.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "cairn/restore.h"
#include "lib/os/signals.h"
#include "lib/try.h"

namespace cairn {

template <class T>
class Future<T>::State {
 public:
  using Work = std::function<Result<T>(const std::stop_token&)>;

  State(Work work, const std::stop_token& of_caller)
      : work_(std::move(work)), linked_(of_caller, [this] { stop_.request_stop(); }) {}

  // Does the work, unless somebody has begun.
  void run() noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (stage_ != Stage::Waiting) return;
      stage_ = Stage::Running;
    }
    finish(work_(stop_.get_token()));
  }

  // Nobody will do it.
  void give_up(Error error) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (stage_ != Stage::Waiting) return;
      stage_ = Stage::Running;
    }
    finish(std::move(error));
  }

  void start(std::thread thread) noexcept { thread_ = std::move(thread); }

  bool done() const noexcept {
    const std::lock_guard lock(mutex_);
    return stage_ == Stage::Done;
  }

  bool wait_for(std::chrono::milliseconds timeout) const {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, timeout, [this] { return stage_ == Stage::Done; });
  }

  Result<T> wait() {
    run();
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return stage_ == Stage::Done; });
    return *result_;
  }

  void cancel() noexcept { stop_.request_stop(); }

  // The last of it: from here on only a task that comes too late refers to this.
  void end() noexcept {
    cancel();
    give_up({Code::Cancelled, 0, {}});
    {
      std::unique_lock lock(mutex_);
      ended_.wait(lock, [this] { return stage_ == Stage::Done; });
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  enum class Stage : std::uint8_t { Waiting, Running, Done };

  void finish(Result<T> result) noexcept {
    work_ = nullptr;  // and what the caller's functions hold
    const std::lock_guard lock(mutex_);
    result_.emplace(std::move(result));
    stage_ = Stage::Done;
    ended_.notify_all();
  }

  Work work_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> linked_;
  std::thread thread_;
  mutable std::mutex mutex_;
  mutable std::condition_variable ended_;
  Stage stage_ = Stage::Waiting;
  std::optional<Result<T>> result_;
};

namespace internal {

struct Futures {
  // What an executor has of the call. When the last copy of the task goes, it does not come.
  template <class T>
  struct Ticket {
    std::shared_ptr<typename Future<T>::State> state;
    std::filesystem::path path;

    Ticket(std::shared_ptr<typename Future<T>::State> of, std::filesystem::path named)
        : state(std::move(of)), path(std::move(named)) {}
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket() {
      auto refused = at_boundary([&]() -> Result<void> {
        return Error{Code::Busy, 0,
                     path.string() +
                         ": was not opened, because the executor refused the task or dropped it; "
                         "try again, or call wait() while the task is in its queue"};
      });
      state->give_up(std::move(refused).error());
    }
  };

  template <class T>
  static void start(const std::shared_ptr<typename Future<T>::State>& state,
                    const std::filesystem::path& path, const Executor& executor) {
    if (executor) {
      std::function<void()> task = [ticket = std::make_shared<Ticket<T>>(state, path)] {
        ticket->state->run();
      };
      try {
        // Where it is refused, nobody has the ticket afterwards, and that tells the Future.
        static_cast<void>(executor(std::move(task)));
      } catch (const std::bad_alloc&) {
        throw;
      } catch (...) {
        // The same as a refusal.
      }
      return;
    }
    try {
      const os::SignalsBlocked blocked;  // in the new thread too
      state->start(std::thread([state] { state->run(); }));
    } catch (const std::system_error& failed) {
      state->give_up({Code::OutOfMemory, failed.code().value(),
                      path.string() + ": was not opened, because no thread can be started (" +
                          failed.code().message() +
                          "); open() and restore() need none, or raise 'ulimit -u' or the process "
                          "limit of the container"});
    }
  }

  // `call` in the background, with copies of all that the options refer to.
  template <class T, class Options>
  static Future<T> begin(const std::filesystem::path& path, const Options& options,
                         Result<T> (*call)(const std::filesystem::path&,
                                           const Options&) noexcept) noexcept {
    try {
      auto work = [path = path, options = options, call,
                   expected =
                       std::vector<TensorSpec>(options.expected.begin(), options.expected.end())](
                      const std::stop_token& stop) mutable {
        options.expected = expected;
        options.exec.stop = stop;
        return call(path, options);
      };
      auto state = std::make_shared<typename Future<T>::State>(std::move(work), options.exec.stop);
      start<T>(state, path, options.exec.executor);
      return Future<T>(std::move(state));
    } catch (...) {  // there is no memory; whatever else the copies of the caller's functions throw
      return Future<T>(nullptr);
    }
  }
};

}  // namespace internal

template <class T>
bool Future<T>::done() const noexcept {
  return state_ == nullptr || state_->done();
}

template <class T>
bool Future<T>::wait_for(std::chrono::milliseconds timeout) const noexcept {
  return state_ == nullptr || state_->wait_for(timeout);
}

template <class T>
Result<T> Future<T>::wait() const noexcept {
  return at_boundary([&]() -> Result<T> {
    if (state_ == nullptr) return Error{Code::OutOfMemory, 0, "out of memory"};
    return state_->wait();
  });
}

template <class T>
void Future<T>::cancel() noexcept {
  if (state_ != nullptr) state_->cancel();
}

template <class T>
Future<T>::Future(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

template <class T>
Future<T>::Future(Future&&) noexcept = default;

template <class T>
Future<T>& Future<T>::operator=(Future&& other) noexcept {
  if (this == &other) return *this;
  if (state_ != nullptr) state_->end();
  state_ = std::move(other.state_);
  return *this;
}

template <class T>
Future<T>::~Future() {
  if (state_ != nullptr) state_->end();
}

template class CAIRN_API Future<Checkpoint>;
template class CAIRN_API Future<Restored>;

Future<Checkpoint> Checkpoint::open_async(const std::filesystem::path& path,
                                          const OpenOptions& options) noexcept {
  return internal::Futures::begin<Checkpoint, OpenOptions>(path, options, &Checkpoint::open);
}

Future<Restored> restore_async(const std::filesystem::path& path,
                               const RestoreOptions& options) noexcept {
  return internal::Futures::begin<Restored, RestoreOptions>(path, options, &restore);
}

}  // namespace cairn
