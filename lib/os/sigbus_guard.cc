// The one signal handler of the library, and it is there only where somebody asked for it.
//
// What a handler may do is little: here it is loads and stores of atomics, one mmap over the page
// that faulted, and the caller's function. It marks before it replaces, so that whoever read a zero
// and asks afterwards hears of it.
//
// What is not ours goes to the previous action as if the guard were not there, which means: with
// its own mask and flags, and, where there was none, by the death that it would have been.
//
// Rejected: siglongjmp out of the fault, which skips whatever the interrupted code held;
// userfaultfd, which many sandboxes refuse and which would need a thread (docs/decisions/0008).

#include "cairn/sigbus_guard.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <utility>

#include "lib/os/file.h"
#include "lib/os/guarded.h"
#include "lib/try.h"

namespace cairn {
namespace {

using Action = struct sigaction;

// What a handler needs. It is never freed: a handler may be reading it while its guard ends.
struct Installation {
  SigbusGuardOptions options;
  Action previous{};
  std::atomic<bool> armed{true};
  bool covered = false;  // its guard has ended, and another handler may still call ours
  Installation* older = nullptr;
};

constinit std::atomic<Installation*> newest{nullptr};
constinit std::atomic<std::size_t> page_bytes{0};

// ---- In the handler -----------------------------------------------------------------------------

// Puts zeros where the page is, if it is in a mapping of ours.
bool take_over(const siginfo_t& info, const SigbusGuardOptions& options) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  const auto place = os::find_guarded(address);
  if (!place) return false;
  const std::uint32_t before = place->slot->faults.fetch_add(1, std::memory_order_acq_rel);
  os::page_replaced.store(true, std::memory_order_release);
  // Blocks that double and lie at multiples of their size: after n faults 2^n pages are through.
  const std::size_t block = page_bytes.load(std::memory_order_relaxed) << std::min(before, 32u);
  const std::size_t offset_bytes = address - place->begin;
  const std::size_t mapping_bytes = place->end - place->begin;
  const std::size_t from = offset_bytes / block * block;
  const std::size_t size_bytes = std::min(block, mapping_bytes - from);
  auto* const begin = static_cast<std::byte*>(info.si_addr) - offset_bytes;
  const bool writable = place->slot->writable.load(std::memory_order_relaxed);
  const void* const zeros =
      ::mmap(begin + from, size_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (zeros == MAP_FAILED) return false;
  if (before == 0 && options.on_fault != nullptr)
    options.on_fault({{begin, mapping_bytes}, offset_bytes}, options.context);
  return true;
}

// Whether the signal comes again by itself when the handler returns.
bool comes_again(const siginfo_t& info) noexcept {
  return info.si_code > 0 && info.si_code != BUS_MCEERR_AO;
}

void set_default() noexcept {
  Action action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGBUS, &action, nullptr);
}

void pass_on(const Action& previous, siginfo_t* info, void* context) {
  const bool none = previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN;
  if (none && previous.sa_handler == SIG_IGN && !comes_again(*info)) return;
  if (none || (static_cast<unsigned>(previous.sa_flags) & SA_RESETHAND) != 0) set_default();
  if (none) {
    if (!comes_again(*info)) ::raise(SIGBUS);
  } else if ((previous.sa_flags & SA_SIGINFO) != 0) {
    previous.sa_sigaction(SIGBUS, info, context);
  } else {
    previous.sa_handler(SIGBUS);
  }
}

void on_sigbus(int, siginfo_t* info, void* context) {
  const int errno_before = errno;
  const Installation& now = *newest.load(std::memory_order_acquire);
  const bool taken_over = info->si_code == BUS_ADRERR &&
                          now.armed.load(std::memory_order_relaxed) &&
                          take_over(*info, now.options);
  if (!taken_over) pass_on(now.previous, info, context);
  errno = errno_before;
}

// ---- Around it ----------------------------------------------------------------------------------

std::atomic<bool> guard_installed{false};  // one for each process

bool is_ours(const Action& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == on_sigbus;
}

// The code of the handler is there for good, whatever a dlclose does: another handler that was
// installed over it may call it at any time.
void stay_loaded() noexcept {
  Dl_info here{};
  if (::dladdr(&newest, &here) == 0) return;
  // Of a program that holds the library itself there is nothing to be unloaded.
  static_cast<void>(::dlopen(here.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE));
}

Result<void> set_handler(const Action& previous) {
  stay_loaded();
  Action action{};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | (previous.sa_flags & (SA_RESTART | SA_NODEFER));
  action.sa_mask = previous.sa_mask;
  if (::sigaction(SIGBUS, &action, nullptr) == 0) return {};
  return os::system_error("SIGBUS", "cannot install a handler");
}

Result<void> install_handler(const SigbusGuardOptions& options) {
  Action there{};
  if (::sigaction(SIGBUS, nullptr, &there) != 0)
    return os::system_error("SIGBUS", "cannot read the installed handler");
  Installation* const older = newest.load(std::memory_order_acquire);
  // A guard that ended left it, and it is on top again.
  const bool still_there = older != nullptr && is_ours(there);
  const bool calls_nobody = there.sa_handler == SIG_DFL || there.sa_handler == SIG_IGN;
  if (older != nullptr && older->covered && !still_there && !calls_nobody) {
    return Error{Code::Exists, 0,
                 "SIGBUS has a handler that was installed after an earlier guard and may still "
                 "call it: remove that handler first"};
  }
  page_bytes.store(static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), std::memory_order_relaxed);
  auto now = std::make_unique<Installation>();
  now->options = options;
  now->previous = still_there ? older->previous : there;
  now->older = older;
  newest.store(now.release(), std::memory_order_release);
  return still_there ? Result<void>() : set_handler(there);
}

void end(Installation& guard) noexcept {
  guard.armed.store(false, std::memory_order_relaxed);
  Action there{};
  guard.covered = ::sigaction(SIGBUS, nullptr, &there) != 0 || !is_ours(there);
  if (!guard.covered) ::sigaction(SIGBUS, &guard.previous, nullptr);
}

}  // namespace

Result<SigbusGuard> SigbusGuard::install(const SigbusGuardOptions& options) noexcept {
  return at_boundary([&]() -> Result<SigbusGuard> {
    if (guard_installed.exchange(true))
      return Error{Code::Exists, 0, "this process already has a SIGBUS guard"};
    auto done = at_boundary([&] { return install_handler(options); });
    if (done) return SigbusGuard(true);
    guard_installed.store(false);
    return std::move(done).error();
  });
}

SigbusGuard::SigbusGuard(SigbusGuard&& other) noexcept
    : installed_(std::exchange(other.installed_, false)) {}

SigbusGuard& SigbusGuard::operator=(SigbusGuard&& other) noexcept {
  std::swap(installed_, other.installed_);
  return *this;
}

SigbusGuard::~SigbusGuard() {
  if (!installed_) return;
  end(*newest.load(std::memory_order_acquire));
  guard_installed.store(false);
}

}  // namespace cairn
