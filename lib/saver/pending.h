#pragma once

// A save in a thread of its own: what the two threads share.

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

// The tensors of a save that copies. What fits into the staging memory is copied, the rest is
// written from the caller's own memory, with all that makes save() fast, and the caller waits for
// that. Pieces that go through the staging memory one by one were rejected: they are summed and
// written by one thread, and a caller with more than fits waited longer than for save().
class StagingBuffer {
 public:
  StagingBuffer(std::span<const NamedTensor> tensors, std::uint64_t size_bytes_max);

  // The caller's end: copies, and returns when its memory is needed no more.
  void copy();

  // The writing end: what is lent first, then the copies.
  Result<void> write(Writer& writer, const ExecOptions& exec);

  // The writing end needs the caller's memory no more, whatever became of the save.
  void release();

 private:
  struct Copy {
    NamedTensor tensor;  // of the caller's; later of memory_ and what is below
    std::vector<std::string> texts;
    std::vector<std::string_view> strings;
  };
  enum class CopyState : std::uint8_t { NotYet, Whole, Failed };
  void set_copied(CopyState copied);

  std::vector<NamedTensor> borrowed_;
  std::vector<Copy> copies_;
  std::optional<os::Mapping> memory_;  // in huge pages, which halves the time that a copy takes
  std::mutex mutex_;
  std::condition_variable changed_;
  CopyState copied_ = CopyState::NotYet;
  bool released_ = false;
};

// What is in memory already.
Result<void> write_all(Writer& writer, std::span<const NamedTensor> tensors,
                       const ExecOptions& exec);

}  // namespace internal
}  // namespace cairn
