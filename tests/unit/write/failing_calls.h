#pragma once

// One system call of this process fails, and the others are as they are: each that reads, looks at
// a file, opens it or locks it; or each that syncs.

#include <cstdint>

namespace cairn::test {

enum class FailingCalls : std::uint8_t { Looks, Syncs };

// Arms the failure of the call with this number, from 1, until the end of its life.
class FailingCall {
 public:
  FailingCall(FailingCalls which, int number) noexcept;
  ~FailingCall();
  FailingCall(const FailingCall&) = delete;
  FailingCall& operator=(const FailingCall&) = delete;

  bool happened() const noexcept;  // there was a call with this number, and it has failed
};

// The syncs of this process so far.
int sync_count() noexcept;

}  // namespace cairn::test
