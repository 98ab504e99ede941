#pragma once

// For servers that map checkpoints and must not die with a file.
//
// A page of a mapping that cannot be read (the file was truncated, a network disk went away, a
// sector is bad) is answered by the kernel with SIGBUS, which ends the process. Cairn's own calls
// do not touch mappings; but who uses a view (bytes(), as(), strings()) does. While a SigbusGuard
// lives, such a fault inside a mapping of a shard, whenever that was made, does this instead:
//
//   1. the checkpoint is marked: faulted() is true from then on, and all that would give or read
//      bytes of that shard is refused with Io;
//   2. zeros are put where the page was, so that the thread goes on;
//   3. `on_fault` is called, once for each mapping.
//
// So a server computes with what it has, then asks faulted(), and only then answers:
//
//     const auto logits = infer(weights, request);        // reads views
//     if (checkpoint.faulted()) return reload_and_retry();
//     return logits;
//
// It is not needed with Access::Copy, whose bytes never fault. Faults anywhere else, and signals
// that somebody sends, go to the action that was there before.

#include <cstddef>
#include <cstdint>
#include <span>

#include "cairn/error.h"
#include "cairn/export.h"

namespace cairn {

// What happened.
struct MappingFault {
  std::span<const std::byte> mapping;  // a whole shard, as far as its index needs it
  std::uint64_t offset_bytes = 0;      // of what was touched, in the mapping and in the shard
};

struct SigbusGuardOptions {
  // Called in the signal handler, on the thread that touched the page: it may only do what is
  // async-signal-safe, such as writing to a descriptor or storing into an atomic. It must not touch
  // the mapping, nor install or end a guard. Nothing: nobody is told.
  void (*on_fault)(const MappingFault& fault, void* context) noexcept = nullptr;
  // Handed to on_fault. It must outlive the last fault, not only the guard: a handler may still run
  // on another thread when the guard ends.
  void* context = nullptr;
};

// The guard of this process, as long as it lives.
//
// Zeros replace one page at the first fault of a mapping, and twice as many at each further one, so
// that a model which was cut off costs its readers twenty signals and not one for each page. Its
// readable pages may be among them: the whole mapping is given up. With Access::Private, what the
// caller had written there is lost as well.
//
// It covers the shards of every checkpoint of this process, opened before or after. An index needs
// no guard: it is read into memory.
//
// Threads: any number may fault at once; each needs SIGBUS unblocked, as it is by default. A forked
// child inherits the guard. Whoever handles SIGBUS too: install the guard later than he does, or
// let his handler pass on what it does not know.
class CAIRN_API SigbusGuard {
 public:
  // Errors: Exists (this process has a guard, or had one over which another handler was installed
  // that may still call it), Io (the system refuses), OutOfMemory.
  static Result<SigbusGuard> install(const SigbusGuardOptions& options = {}) noexcept;

  SigbusGuard(SigbusGuard&& other) noexcept;
  SigbusGuard& operator=(SigbusGuard&& other) noexcept;

  // Puts the previous action back, unless another has taken the guard's place, which then goes on
  // calling it for nothing. Zeros stay where they are.
  ~SigbusGuard();

 private:
  explicit SigbusGuard(bool installed) noexcept : installed_(installed) {}

  bool installed_ = false;
};

}  // namespace cairn
