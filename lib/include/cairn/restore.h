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
#include "cairn/format_options.h"
#include "cairn/tensor.h"

namespace cairn {

enum class IoMethod : std::uint8_t {
  Map,       // Access::Shared. A page is read when it is touched
  Populate,  // Access::Shared. Every page is read into the page cache and mapped
  Read,      // Access::Copy. Read on all cores, through the page cache, into memory of this process
  Direct,    // Access::Copy. Read past the page cache (io_uring, else threads), into huge pages
};

// "map", "populate", "read", "direct".
CAIRN_API std::string_view name(IoMethod method) noexcept;

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
};

struct Restored {
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
CAIRN_API Result<Restored> restore(const std::filesystem::path& path,
                                   const RestoreOptions& options = {}) noexcept;

}  // namespace cairn
