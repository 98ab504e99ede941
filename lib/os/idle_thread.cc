#include "lib/os/idle_thread.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <system_error>

#include "lib/os/signals.h"

namespace cairn::os {

void use_idle_time() noexcept {
  constexpr int kThread = 1;           // IOPRIO_WHO_PROCESS, which means the thread
  constexpr int kIdleClass = 3 << 13;  // IOPRIO_CLASS_IDLE
  const sched_param priority{};
  ::sched_setscheduler(0, SCHED_IDLE, &priority);
  ::syscall(SYS_ioprio_set, kThread, 0, kIdleClass);
}

IdleThread::IdleThread() {
  const SignalsBlocked blocked;  // in the thread too
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error&) {
    // Nobody waits for a thread that is not there.
  }
}

IdleThread::~IdleThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void IdleThread::run(const std::function<void()>& body, std::chrono::milliseconds patience) {
  if (!thread_.joinable()) {
    body();
    return;
  }
  std::unique_lock lock(mutex_);
  body_ = &body;
  changed_.notify_all();
  const auto is_done = [this] { return body_ == nullptr; };
  if (changed_.wait_for(lock, patience, is_done)) return;
  lock.unlock();
  body();
  lock.lock();
  if (!is_working_) body_ = nullptr;  // it found no time to begin
  changed_.wait(lock, is_done);
}

void IdleThread::work() {
  use_idle_time();
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ends_ || body_ != nullptr; });
    if (ends_) return;
    is_working_ = true;
    lock.unlock();
    (*body_)();
    lock.lock();
    is_working_ = false;
    body_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace cairn::os
