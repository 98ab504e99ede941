#pragma once

// A save in a thread of its own: what the two threads share.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "cairn/saver.h"

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

namespace saver {

// Bytes on their way from the thread that has them to the one that writes, at most so many at a
// time.
class Staging {
 public:
  explicit Staging(std::uint64_t size_bytes_max) noexcept : size_bytes_max_(size_bytes_max) {}

  // Copies the tensors' bytes in, waiting for room. Returns early when the writing end has given
  // up.
  void put(std::span<const NamedTensor> tensors);

  // Writes what comes until everything has come.
  Result<void> drain(Writer& writer);

  // The writing end takes no more.
  void give_up();

 private:
  struct Piece {
    std::string tensor;
    DType dtype{};
    std::variant<std::vector<std::byte>, std::vector<std::string>> content;
    std::uint64_t size_bytes = 0;
  };
  bool put_piece(Piece piece);
  bool put_bytes(const NamedTensor& tensor);
  bool put_strings(const NamedTensor& tensor);
  std::optional<Piece> take();

  std::uint64_t size_bytes_max_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
  std::uint64_t size_bytes_ = 0;          // of the pieces that wait, and of the one being written
  std::uint64_t writing_size_bytes_ = 0;  // of that one
  bool complete_ = false;
  bool given_up_ = false;
};

// What is in memory already.
Result<void> write_all(Writer& writer, std::span<const NamedTensor> tensors, const Work& work);

}  // namespace saver
}  // namespace cairn
