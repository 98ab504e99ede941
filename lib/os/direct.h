#pragma once

// Reading past the page cache.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "lib/os/file.h"

namespace cairn::os {

// Where such a read may begin, in the file and in memory, and what its length is a multiple of:
// what every disk takes.
inline constexpr std::uint64_t kDirectAlignmentBytes = 4096;

// The same file, opened once more for reads past the page cache. Unsupported: the file system has
// none, or the file cannot be opened again. Io: any other reason, such as too many open files.
Result<File> reopen_direct(const File& file);

// One read; `file` is from reopen_direct(), all three numbers are aligned.
struct DirectRead {
  const File* file = nullptr;
  std::uint64_t offset_bytes = 0;
  std::span<std::byte> out;
};

// How the reads are asked for.
enum class DirectCalls : std::uint8_t {
  Ring,     // io_uring, or Threads where the kernel refuses it
  Threads,  // pread, more threads than cores
};

// Makes the reads, some at a time under way on each thread that `exec` allows, and calls done(i) on
// that thread when read i is in memory, while the others go on. Errors: Io (the file ends before,
// or the disk failed), that of `done`, Cancelled. No read is under way when it returns.
Result<void> read_direct(const ExecOptions& exec, std::span<const DirectRead> reads,
                         const std::function<Result<void>(std::size_t)>& done,
                         DirectCalls calls = DirectCalls::Ring);

}  // namespace cairn::os
