#pragma once

// What Checkpoint::open_async and restore_async return.

#include <chrono>
#include <memory>

#include "cairn/error.h"
#include "cairn/export.h"

namespace cairn {

namespace internal {
struct Futures;
}

// A call that runs in the background, and its result. T is Checkpoint or Restored.
//
// The call runs on a thread of its own, or, if ExecOptions::executor is set, as one of the
// executor's tasks. The thread ends with the Future at the latest. Threads: any number may use it;
// it may move and be destroyed on any thread but the one that runs the call.
template <class T>
class CAIRN_API Future {
 public:
  // Whether wait() would return at once.
  bool done() const noexcept;

  // Waits at most so long. Returns done().
  bool wait_for(std::chrono::milliseconds timeout) const noexcept;

  // Waits for the end and returns the result; each time a copy of the same. If the executor has not
  // begun with the task, this thread does the work itself, so wait() may be called on a thread of
  // the executor. Errors: those of the call; Cancelled (cancel() was in time); Busy (the executor
  // refused the task, or destroyed it without running it); OutOfMemory (also if no thread can be
  // started).
  Result<T> wait() const noexcept;

  // Asks the call to end soon, as ExecOptions::stop does. It does not wait for it. Without effect
  // if the call is done.
  void cancel() noexcept;

  // A Future that was moved from may only be destroyed or assigned to.
  Future(Future&&) noexcept;
  Future& operator=(Future&&) noexcept;  // first as ~Future()

  // If the call has not begun, it never begins. If it runs, it is cancelled, and this waits until
  // it has ended: usually a few milliseconds, at most one read of the disk.
  ~Future();

 private:
  friend struct internal::Futures;
  class CAIRN_LOCAL State;
  explicit Future(std::shared_ptr<State> state) noexcept;
  std::shared_ptr<State> state_;
};

}  // namespace cairn
