#include "lib/os/signals.h"

namespace cairn::os {

SignalsBlocked::SignalsBlocked() noexcept {
  sigset_t others;
  ::sigfillset(&others);
  for (const int own : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS})
    ::sigdelset(&others, own);
  // Added to what the caller blocks already.
  ::pthread_sigmask(SIG_BLOCK, &others, &before_);
}

SignalsBlocked::~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

}  // namespace cairn::os
