#pragma once

// Restore: open a checkpoint and read all its bytes, by the method that suits the disk and the
// memory. The first row that fits decides:
//
//     what is found                         method    reason
//     ------------------------------------  --------  ---------------------------------------
//     more bytes than available memory      Map       only a mapping may be larger than
//                                                     memory: its pages come and go
//     a network disk, FUSE, or an unknown   Read      there a page fault reads little and
//     file system                                     waits long, and if another host
//                                                     truncates a mapped file, the process
//                                                     is killed
//     cold, and more than half of the       Direct    reads through the page cache would
//     available memory                                push out the pages of other programs
//     everything else                       Populate  one copy for all processes; none is
//                                                     made of what the page cache holds
//
// Available memory is that of the machine, or what the cgroup of the process leaves. Cold means
// that less than half of the bytes are in the page cache, or that the system does not tell how
// many. Without direct reads in the file system, Populate replaces Direct; without mmap, Read
// replaces Populate and Map. docs/performance.md has the measurements behind this table.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"
#include "cairn/format_options.h"
#include "cairn/future.h"
#include "cairn/tensor.h"

namespace cairn {

enum class IoMethod : std::uint8_t {
  Map,       // Access::Shared. A page is read when it is touched
  Populate,  // Access::Shared. Every page is read into the page cache and mapped
  Read,      // Access::Copy. Read on all cores, through the page cache, into memory of this process
  Direct,    // Access::Copy. Read past the page cache (io_uring, else threads), into huge pages
};

// Where the memory of a shard must begin, in bytes, for IoMethod::Direct.
inline constexpr std::uint64_t kDirectAlignment = 4096;

// "map", "populate", "read", "direct".
CAIRN_API std::string_view name(IoMethod method) noexcept;

// Memory of the caller's own: pinned, of one NUMA node, in huge pages, of an arena.
struct CallerMemory {
  std::span<std::byte> bytes = {};
  // Held as long as a copy of the Checkpoint lives; its deleter may free the memory. nullptr: the
  // caller keeps the memory as long.
  std::shared_ptr<void> owner = {};
};

struct RestoreOptions {
  std::optional<IoMethod> method = {};  // std::nullopt: the table above decides
  // With Full the checksums are computed while the bytes are read, which does not slow down a cold
  // restore. With IoMethod::Map, Full reads all bytes.
  Verify verify = Verify::Full;
  bool follow_links = false;                      // as in OpenOptions
  std::span<const TensorSpec> expected = {};      // as in OpenOptions
  std::optional<Digest128> expected_digest = {};  // as in OpenOptions
  FormatOptions formats = {};
  ExecOptions exec = {};
  EventListener on_event = {};  // as in OpenOptions
  // Where the bytes go, see below. Empty: Cairn decides.
  std::function<CallerMemory(std::uint64_t size_bytes)> memory = {};
};

struct CAIRN_API Restored {
  Checkpoint checkpoint;
  IoMethod method{};
  std::string reason;  // why this method, one sentence with the numbers that decided
  std::uint64_t payload_bytes = 0;
  // How many of the bytes were in the page cache before the call. std::nullopt: the system does not
  // tell, see Checkpoint::resident_bytes().
  std::optional<std::uint64_t> resident_bytes;
  std::uint64_t available_bytes = 0;  // memory, before the call; 0: the system does not tell
  std::string file_system;            // "ext4"; "0x12345678" if Cairn has no name for it
};

template <>
inline constexpr bool hands_out_views<Restored> = true;

// Opens the checkpoint as Checkpoint::open() does, and reads all its bytes. Errors: those of open;
// Corrupt (a checksum, with Verify::Full); Unsupported (IoMethod::Direct was requested, and the
// file system has no direct reads). Lifetime and threads: those of the Checkpoint. Cost: reads
// every byte once, on all cores that `exec` allows. Read and Direct need memory for all bytes; Map
// and Populate need almost none.
//
// With `memory`, the bytes come into memory of the caller, and views of tensors lead there. It is
// called on the calling thread for each shard that is not empty, before a byte is read, and again
// if a writer replaces the checkpoint meanwhile. If it gives less than `size_bytes`, restore
// returns OutOfMemory. The table then means Read where it says Map or Populate; if Map was for lack
// of memory, it means Direct where the file system has that. Direct needs every shard's memory to
// begin at a multiple of kDirectAlignment. Read takes any; if a shard's memory begins at a multiple
// of 64, tensors are aligned as in the file. If `method` is not set, memory that Direct cannot use
// is served by Read, and `reason` says so. Errors: Invalid (Map or Populate was requested, which
// leave the bytes in the page cache; Direct was requested, and the memory is not aligned). The
// caller must not change the memory while the Checkpoint is used.
CAIRN_API Result<Restored> restore(const std::filesystem::path& path,
                                   const RestoreOptions& options = {}) noexcept;

// The same in the background; see Future. Copies what the options refer to, `expected` too. The
// thread that does the work calls `exec.progress`, `on_event` and `memory`.
CAIRN_API Future<Restored> restore_async(const std::filesystem::path& path,
                                         const RestoreOptions& options = {}) noexcept;

}  // namespace cairn
