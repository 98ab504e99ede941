#pragma once

// For servers that map checkpoints and must survive a broken file.
//
// If a page of a mapping cannot be read (the file was truncated, a network disk is gone, a sector
// is bad), the kernel sends SIGBUS, which ends the process. Cairn's own calls do not touch
// mappings, but your code does when it uses a view (bytes(), as(), strings()). While a SigbusGuard
// lives, such a fault in the mapping of any shard has these effects instead:
//
//   1. the checkpoint is marked: faulted() is true from then on, and calls that give or read bytes
//      of that shard return Io;
//   2. the page is replaced by zeros, and the thread continues;
//   3. `on_fault` is called, once for each mapping.
//
// A server therefore computes first, then asks faulted(), and only then sends its answer:
//
//     const auto logits = infer(weights, request);        // reads views
//     if (checkpoint.faulted()) return reload_and_retry();
//     return logits;
//
// Access::Copy does not need a guard, because its bytes never fault. Faults in other memory, and
// signals that a process sends, go to the previous signal action.

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/error.h"
#include "cairn/export.h"

namespace cairn {

// A fault.
struct MappingFault {
  std::span<const std::byte> mapping;  // the whole shard, as far as its index needs it
  std::uint64_t offset_bytes = 0;      // the place of the fault, in the mapping and in the shard
};

struct SigbusGuardOptions {
  // The signal handler calls it, on the thread that touched the page. It may do only what is
  // async-signal-safe, for example write to a descriptor or store into an atomic. It must not touch
  // the mapping, and must not install or destroy a guard. nullptr: no call.
  void (*on_fault)(const MappingFault& fault, void* context) noexcept = nullptr;
  // The second argument of on_fault. It must live longer than the guard, until the last fault is
  // handled: a handler may still run on another thread when the guard is destroyed.
  void* context = nullptr;
};

// The guard of this process. It works from install() until it is destroyed, for the shards of every
// checkpoint of the process, opened before or after. An index needs no guard: it is read into
// memory.
//
// The first fault of a mapping replaces one page by zeros, and each further fault twice as many as
// the one before. So a truncated model costs about twenty signals and not one for each page.
// Readable pages may be replaced too: do not use any byte of the mapping afterwards. With
// Access::Private, what the caller has written there is lost as well.
//
// Threads: any number may fault at the same time. SIGBUS must not be blocked in them (the default).
// A forked child inherits the guard. If other code of the program handles SIGBUS, install the guard
// after that handler, or let that handler pass on the faults that it does not know.
class CAIRN_API SigbusGuard {
 public:
  // Errors: Exists (this process has a guard, or had one and another handler, installed later, may
  // still call it), Io (the system call failed), OutOfMemory.
  static Result<SigbusGuard> install(const SigbusGuardOptions& options = {}) noexcept;

  SigbusGuard(SigbusGuard&& other) noexcept;
  SigbusGuard& operator=(SigbusGuard&& other) noexcept;

  // Restores the previous signal action. If another handler was installed after the guard, that
  // handler stays. Zeros stay in the mappings.
  ~SigbusGuard();

 private:
  explicit SigbusGuard(bool installed) noexcept : installed_(installed) {}

  bool installed_ = false;
};

}  // namespace cairn
