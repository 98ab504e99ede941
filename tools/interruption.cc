// A handler may not ask a stop_source to stop: what that calls takes locks. So the signals are
// blocked, and a thread of their own waits for them.

#include "interruption.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <system_error>
#include <thread>

namespace cairn::tools {
namespace {

struct Interruption {
  sigset_t signals{};
  std::stop_source stop;
  std::atomic<int> first = 0;
};

// Never taken down: the thread that waits is still there when main returns.
Interruption& interruption() {
  static Interruption* const only = new Interruption;
  return *only;
}

// `nohup` ignores SIGHUP, and a shell's script ignores SIGINT for what it starts with '&'.
bool is_ignored(int signal) {
  struct sigaction now{};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

[[noreturn]] void end_by(int signal) {
  sigset_t only{};
  ::sigemptyset(&only);
  ::sigaddset(&only, signal);
  std::signal(signal, SIG_DFL);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  std::raise(signal);
  ::_exit(128 + signal);
}

void wait_for_signals(Interruption& state) {
  int signal = 0;
  if (::sigwait(&state.signals, &signal) != 0) return;
  state.first = signal;
  state.stop.request_stop();
  if (::sigwait(&state.signals, &signal) == 0) end_by(signal);
}

void start(Interruption& state) {
  ::sigemptyset(&state.signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (!is_ignored(signal)) ::sigaddset(&state.signals, signal);
  }
  ::pthread_sigmask(SIG_BLOCK, &state.signals, nullptr);
  try {
    std::thread([&state] { wait_for_signals(state); }).detach();
  } catch (const std::system_error&) {
    // No thread to be had: then they end the process at once, as ever.
    ::pthread_sigmask(SIG_UNBLOCK, &state.signals, nullptr);
  }
}

}  // namespace

std::stop_token stopped_by_signals() {
  [[maybe_unused]] static const bool started = (start(interruption()), true);
  return interruption().stop.get_token();
}

void end_by_signal() {
  if (const int signal = interruption().first) end_by(signal);
}

}  // namespace cairn::tools
