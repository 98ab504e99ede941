#pragma once

// Executors for tests: a pool of threads, and a list of tasks that run when the test says so.

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "cairn/exec_options.h"

namespace cairn::test {

// As a server has it: a fixed number of threads and a queue. What is in the queue when it goes is
// dropped.
class Pool {
 public:
  explicit Pool(unsigned threads) {
    while (threads_.size() < threads) threads_.emplace_back([this] { work(); });
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  Executor executor() {
    return [this](std::function<void()> task) {
      {
        const std::lock_guard lock(mutex_);
        if (closed_) return false;
        queue_.push_back(std::move(task));
        ++task_count_;
      }
      changed_.notify_one();
      return true;
    };
  }

  std::size_t task_count() {
    const std::lock_guard lock(mutex_);
    return task_count_;
  }

 private:
  void work() {
    while (true) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return closed_ || !queue_.empty(); });
        if (closed_) return;
        task = std::move(queue_.front());
        queue_.pop_front();
      }
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
  std::size_t task_count_ = 0;
  bool closed_ = false;
};

// Takes tasks, and runs or drops them when it is told to.
class Tasks {
 public:
  Executor executor() {
    return [this](std::function<void()> task) {
      tasks_.push_back(std::move(task));
      return true;
    };
  }
  std::size_t size() const noexcept { return tasks_.size(); }
  void run_all() {
    for (const auto& task : tasks_) task();
  }
  void drop_all() { tasks_.clear(); }

 private:
  std::vector<std::function<void()>> tasks_;
};

}  // namespace cairn::test
