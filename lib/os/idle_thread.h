#pragma once

// A thread that works in the time of processors and disk that others leave.
//
// It must not do what takes the lock of the address space: no mmap, munmap or madvise, and no
// malloc of much, which calls them. Whoever is preempted inside of such a call holds the lock until
// he runs again, in idle time after seconds, and every mmap and munmap of the process waits for
// him. For this reason the thread stays from one piece of work to the next: to end a thread is such
// a call too.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace cairn::os {

// The calling thread has processors and disk when nobody else wants them: a wish. What it submits
// to a disk whose scheduler knows no priorities goes with the others. A thread without privileges
// cannot leave this priority.
void use_idle_time() noexcept;

class IdleThread {
 public:
  // If the system gives no thread, the thread that calls run() does all the work.
  IdleThread();
  ~IdleThread();
  IdleThread(const IdleThread&) = delete;
  IdleThread& operator=(const IdleThread&) = delete;

  // Calls `body` on the thread, and after `patience` on the calling thread too, unless it has
  // returned by then. Returns when all calls that have begun have returned. `body` does a part of
  // some work, and returns when nothing of it is left that nobody does. It must not throw.
  void run(const std::function<void()>& body, std::chrono::milliseconds patience);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* body_ = nullptr;  // nullptr: there is nothing to do
  bool is_working_ = false;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace cairn::os
