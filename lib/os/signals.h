#pragma once

// Signals belong to the application: its handlers expect its own threads, and a thread of its own
// may wait for them with sigwait(), which works only while every other thread blocks them.

#include <csignal>

namespace cairn::os {

// While this lives, the calling thread takes no signal but those that its own instructions raise
// (SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS): blocked, they would end the process past
// every handler. A thread that is started meanwhile inherits that, from its first instruction on.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept;
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace cairn::os
