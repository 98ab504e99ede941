#pragma once

#include <chrono>
#include <thread>

namespace cairn::os {

// How often a call is made that other processes can undo, each time for an innocent reason. The
// first calls follow each other at once. If all of them failed, both sides probably run in step, as
// on a machine with more to do than processors: then each further call waits first, twice as long
// as the one before, a quarter of a second in all.
class Retries {
 public:
  static constexpr int kCallsMax = 16;

  int calls() const noexcept { return calls_; }

  // Counts the call that failed. Whether one more may be made; it may be made now.
  bool once_more() {
    if (calls_ == kCallsMax || ++calls_ == kCallsMax) return false;
    if (calls_ >= kCallsAtOnce)
      std::this_thread::sleep_for(std::chrono::milliseconds(1 << (calls_ - kCallsAtOnce)));
    return true;
  }

 private:
  static constexpr int kCallsAtOnce = 8;
  int calls_ = 0;
};

}  // namespace cairn::os
