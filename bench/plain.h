#pragma once

// What anybody can do without Cairn, as fast as the system calls allow: the limits that the figures
// are set beside.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cairn/error.h"

namespace cairn::bench {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kBlockBytes = std::size_t{256} << 10;  // in which Cairn reads and sums

// As many as the library takes: those that the affinity mask allows.
unsigned core_count();

// Calls `work` for each block of a range of `size` bytes, on all cores. One that fails ends it.
Result<void> in_parallel(std::size_t size,
                         const std::function<Result<void>(std::size_t at, std::size_t size)>& work);

// An open file.
class File {
 public:
  static Result<File> open(const std::string& path);
  File(File&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}
  File& operator=(File&&) = delete;
  ~File();

  std::size_t size() const { return size_; }
  Result<void> read(std::span<std::byte> out, std::size_t at) const;
  // Syncs the file and drops it from the page cache; how many bytes stay is asked of the kernel.
  Result<std::uint64_t> drop() const;
  int descriptor() const { return descriptor_; }

 private:
  File(int descriptor, std::size_t size) : descriptor_(descriptor), size_(size) {}
  int descriptor_;
  std::size_t size_;
};

enum class Pages { OnTouch, Populated };

// Mapped memory: a file's, or our own.
class Memory {
 public:
  static Result<Memory> of_file(const std::string& path, Pages pages);
  // In huge pages where the kernel has them.
  static Result<Memory> own(std::size_t size, Pages pages);
  Memory(Memory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Memory& operator=(Memory&&) = delete;
  ~Memory();

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  explicit Memory(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

// Takes so much memory, a quarter of the machine's at most, writes to it and gives it back, until
// that goes as fast as memory does: the next allocations get it. The host of a virtual machine may
// take back what lies free for some seconds (free page reporting), and the first write then costs
// ten microseconds a page, for whoever comes first: a save of 498 MB took 1.4 s instead of 0.14.
void settle(std::size_t size);

// Reads one byte of each page.
void touch(std::span<const std::byte> bytes);

std::uint32_t crc32c(std::span<const std::byte> bytes);

// A line of /proc/self/smaps_rollup, such as "Pss_File", in bytes.
std::uint64_t rollup_bytes(std::string_view line);

}  // namespace cairn::bench
