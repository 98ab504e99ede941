#pragma once

// Writers and readers at work at the same time, as threads of this process or as processes of their
// own, and what they tell.

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace cairn::live {

// A temporary directory, in memory where that can be: these races are lost and won between system
// calls, not on the disk.
class Place {
 public:
  Place() {
    const std::filesystem::path memory = "/dev/shm";
    const bool there = ::access(memory.c_str(), W_OK) == 0;
    const auto parent = there ? memory : std::filesystem::temp_directory_path();
    std::string name = (parent / "cairn-live-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// What all workers see: it lies in memory that a fork shares.
struct Board {
  std::atomic<std::uint64_t> commits{0};
  std::atomic<std::uint64_t> views{0};   // checkpoints opened and found right
  std::atomic<std::uint64_t> gone{0};    // honest answers: it was removed
  std::atomic<std::uint64_t> errors{0};  // answers that nobody should have got
  std::atomic<std::uint64_t> torn{0};    // values that do not belong together, or went back in time
  std::atomic<std::int64_t> next{0};     // the last generation that was given out
  std::atomic<std::int64_t> tickets{0};  // likewise of steps
  std::atomic<bool> over{false};         // the writers are done
  std::atomic<bool> told{false};
  char first[1024] = {};  // what the first complaint was

  void complain(std::atomic<std::uint64_t>& counter, const std::string& sentence) {
    counter.fetch_add(1);
    if (told.exchange(true)) return;
    const std::size_t size = std::min(sentence.size(), sizeof first - 1);
    std::memcpy(first, sentence.data(), size);
  }
  void spurious(const std::string& sentence) { complain(errors, sentence); }
  void tear(const std::string& sentence) { complain(torn, sentence); }
};

// One in memory that a fork shares.
template <class T>
class SharedMemory {
 public:
  SharedMemory() {
    void* memory =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    shared_ = new (memory) T();
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::munmap(shared_, sizeof(T)); }
  T& operator*() const noexcept { return *shared_; }
  T* operator->() const noexcept { return shared_; }

 private:
  T* shared_;
};
using SharedBoard = SharedMemory<Board>;

enum class Form : std::uint8_t { Threads, Processes };
using Task = std::function<void()>;

// One task under way.
class Worker {
 public:
  Worker(Form form, const Task& task) {
    if (form == Form::Threads) {
      thread_ = std::thread(task);
      return;
    }
    process_ = ::fork();
    if (process_ < 0) throw std::runtime_error("cannot fork");
    if (process_ > 0) return;
    task();
    ::_exit(0);
  }
  // Whether it ended well.
  bool join() {
    if (process_ < 0) {
      thread_.join();
      return true;
    }
    int status = 0;
    return ::waitpid(process_, &status, 0) == process_ && status == 0;
  }

 private:
  std::thread thread_;
  pid_t process_ = -1;
};

// Runs the readers for as long as the writers work.
inline void run_tasks(Form form, Board& board, const std::vector<Task>& writers,
                      const std::vector<Task>& readers) {
  std::vector<Worker> reading;
  std::vector<Worker> writing;
  for (const Task& task : readers) reading.emplace_back(form, task);
  for (const Task& task : writers) writing.emplace_back(form, task);
  const auto join = [&](std::vector<Worker>& workers, const char* who) {
    for (Worker& worker : workers) {
      if (!worker.join()) board.spurious(std::string(who) + " died");
    }
  };
  join(writing, "a writer");
  board.over = true;
  join(reading, "a reader");
}

}  // namespace cairn::live
