#pragma once

// A save in a thread of its own: what the two threads share.

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/saver.h"
#include "lib/os/mapping.h"

namespace cairn {

// The answer, once there is one.
class PendingSave::State {
 public:
  void finish(Result<Saved> result);
  bool done() const;
  Result<Saved> wait();            // the caller has heard the answer
  std::optional<Error> unheard();  // waits; the error, where nobody has heard it yet

 private:
  mutable std::mutex mutex_;
  std::condition_variable finished_;
  std::optional<Result<Saved>> result_;
  bool heard_ = false;
};

namespace internal {

// The memory that copies lie in. It stays for the next save: what is new costs the kernel as much
// again as the copy, to clear it.
class StagingMemory {
 public:
  // As many of these bytes as there are, or as the machine has to spare; for good, until the next
  // call.
  std::span<std::byte> take(std::uint64_t wanted_bytes);

 private:
  std::optional<os::Mapping> memory_;  // in huge pages, which halves the time that a copy takes
};

struct StagingLimits {
  std::uint64_t size_bytes_max = 0;
  std::chrono::milliseconds idle_max{0};  // as in os::ThreadGroupOptions
};

// The tensors of a save that copies. What fits into the staging memory is copied, the rest is
// written from the caller's own memory, with all that makes save() fast, and the caller waits for
// that. Pieces that go through the staging memory one by one were rejected: they are summed and
// written by one thread, and a caller with more than fits waited longer than for save().
class StagingBuffer {
 public:
  explicit StagingBuffer(const StagingLimits& limits) : limits_(limits) {}

  // The caller's end: copies on the threads that `exec` allows, before the writing end begins.
  Result<void> copy(std::span<const NamedTensor> tensors, StagingMemory& memory,
                    const ExecOptions& exec);

  // All of them, where they lie now: after copy(), until release().
  std::vector<NamedTensor> tensors() const;

  // Returns when the caller's memory is needed no more.
  void wait_until_released();

  // The writing end: what is lent first, then the copies, in idle time.
  Result<void> write(Writer& writer, const ExecOptions& exec);

  // The writing end needs the caller's memory no more, whatever became of the save.
  void release();

 private:
  void choose(std::span<const NamedTensor> tensors, StagingMemory& memory);

  StagingLimits limits_;
  std::span<std::byte> memory_;
  std::vector<NamedTensor> borrowed_;
  std::vector<NamedTensor> copies_;  // of the caller's bytes; when they are copied, of memory_
  std::vector<std::vector<std::string_view>> strings_;  // of copies_ that have any
  std::mutex mutex_;
  std::condition_variable changed_;
  bool released_ = false;
};

// What is in memory already, without what the Writer has by now.
Result<void> write_all(Writer& writer, std::span<const NamedTensor> tensors,
                       const ExecOptions& exec);

}  // namespace internal
}  // namespace cairn
