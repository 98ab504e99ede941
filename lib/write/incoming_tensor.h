#pragma once

// How far one tensor of a Writer has come.
//
//            begin()                    finish()
//   empty ──────────────▶ writing ──────────────────▶ whole
//         ◀──────────────
//            give_back()

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "lib/write/shard_writer.h"

namespace cairn::internal {

// Threads: begin() from any; everything else from the one that began.
class IncomingTensor {
 public:
  bool is_empty() const noexcept { return stage_ == Stage::Empty; }
  bool is_writing() const noexcept { return stage_ == Stage::Writing; }
  bool is_whole() const noexcept { return stage_ == Stage::Whole; }

  // False: it was not empty. Of several threads one gets true.
  bool begin() noexcept {
    Stage empty = Stage::Empty;
    return stage_.compare_exchange_strong(empty, Stage::Writing);
  }

  // None of its bytes has been taken: they may be given again.
  void give_back() noexcept { stage_ = Stage::Empty; }

  // The sums of bytes that come piece by piece: from sum_pieces() to finish().
  void sum_pieces(std::unique_ptr<TensorSums> sums) noexcept { pieces_ = std::move(sums); }
  TensorSums& pieces() noexcept { return *pieces_; }

  // All bytes are there, and these are their sums.
  void finish(Sums sums) noexcept {
    sums_ = std::move(sums);
    pieces_.reset();
    stage_ = Stage::Whole;
  }
  const Sums& sums() const noexcept { return sums_; }

 private:
  enum class Stage : std::uint8_t { Empty, Writing, Whole };

  std::atomic<Stage> stage_ = Stage::Empty;
  std::unique_ptr<TensorSums> pieces_;
  Sums sums_;
};

}  // namespace cairn::internal
