#pragma once

// Restore: a checkpoint whose bytes are here when the call returns, by the way that suits the disk
// and the memory.
//
//     what is seen, in this order           way       because
//     ------------------------------------  --------  ---------------------------------------
//     more bytes than memory is available   Map       only a mapping may be larger than
//                                                     memory: its pages come and go
//     a network disk, FUSE, or an unknown   Read      there a page fault reads little and
//     one                                             waits long, and a file that another
//                                                     host truncates kills who maps it
//     cold, and more than half of what is   Direct    through the page cache it would push
//     available                                       out what others have there
//     all else                              Populate  one copy for all processes, and where
//                                                     it is in the page cache none is made
//
// Memory available is the machine's, or what the process's cgroup leaves. Cold: less than half lies
// in the page cache, or nobody says how much. Where the file system has no direct reads, Populate
// takes their place; where it has no mmap, Read. That is all there is to the choice; the numbers
// behind it stand in docs/performance.md.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cairn/checkpoint.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/export.h"
#include "cairn/tensor.h"

namespace cairn {

enum class IoMethod : std::uint8_t {
  Map,       // Access::Shared: nothing is read before it is touched
  Populate,  // Access::Shared, and every page is in the page cache and mapped
  Read,      // Access::Copy: on all cores, through the page cache, into memory of this process
  Direct,    // Access::Copy: past the page cache (io_uring, else threads), into huge pages
};

// "map", "populate", "read", "direct".
CAIRN_API std::string_view name(IoMethod method) noexcept;

struct RestoreOptions {
  std::optional<IoMethod> method;  // nothing: by the table above
  // With Full the bytes are summed as they come, which a cold restore does not notice. With
  // IoMethod::Map it reads them all.
  Verify verify = Verify::Full;
  bool follow_links = false;             // as OpenOptions
  std::span<const TensorSpec> expected;  // as OpenOptions
  ExecOptions exec;
};

struct Restored {
  Checkpoint checkpoint;
  IoMethod method{};
  std::string reason;  // a sentence, with the numbers that decided
  std::uint64_t payload_bytes = 0;
  // Of these in the page cache, before; nothing: the system does not say (resident_bytes()).
  std::optional<std::uint64_t> resident_bytes;
  std::uint64_t available_bytes = 0;  // of memory, before; 0: the system does not say
  std::string file_system;            // "ext4"; "0x12345678" where it has no name here
};

// Opens the checkpoint as Checkpoint::open() does, and brings all its bytes in. Errors: those of
// open; Corrupt (with Verify::Full: a checksum); Unsupported (IoMethod::Direct was asked for, and
// the file system has no such reads). Lifetime and threads: those of the Checkpoint. Cost: every
// byte once, on all cores that `work` allows; memory for all of them with Read and Direct, and next
// to none with Map and Populate.
CAIRN_API Result<Restored> restore(const std::filesystem::path& path,
                                   const RestoreOptions& options = {}) noexcept;

}  // namespace cairn
