#pragma once

// A file's bytes in memory: mapped, or read into memory of our own.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::os {

enum class MapMode : std::uint8_t { ReadOnly, CopyOnWrite };

// The first `size_bytes` of a file. The mapping holds its own reference to the file; the descriptor
// may close.
class Mapping {
 public:
  // Io: the file is shorter (a mapping behind its end would kill the process when touched), or the
  // file system cannot map.
  static Result<Mapping> map(const File& file, std::uint64_t size_bytes, MapMode mode);

  // Zeroed memory of this process, in huge pages where the kernel has them.
  static Result<Mapping> allocate(std::uint64_t size_bytes);

  // Addresses for a file that cannot be mapped: zeros that take no memory before they are touched.
  static Result<Mapping> reserve(std::uint64_t size_bytes);

  // Memory of others, which they free when `owner` goes; nullptr: later than this.
  static Mapping borrow(std::span<std::byte> memory, std::shared_ptr<void> owner);

  Mapping(Mapping&&) noexcept;
  Mapping& operator=(Mapping&&) noexcept;
  ~Mapping();

  // Lets a SigbusGuard put zeros where the file cannot be read: for bytes that nobody has checked
  // and relies on. Not of allocate().
  void guard();

  // Whether it did so. Ask any_faulted() first.
  bool faulted() const noexcept;

  // Writable with CopyOnWrite and allocate() only.
  std::span<std::byte> bytes() const noexcept { return bytes_; }

 private:
  struct Owner;
  Mapping() noexcept;
  std::unique_ptr<Owner> owner_;
  std::span<std::byte> bytes_;
};

// Whether map() failed since the file system cannot map at all, as some network and FUSE mounts.
bool is_unmappable(const Error& error) noexcept;

// Maps the pages of this range now. Io: a page cannot be read (which touching it would answer with
// SIGBUS). Unsupported: the kernel is older than 5.14.
Result<void> populate(std::span<const std::byte> range);

// Copies what lies in a mapping. Io: a page of it cannot be read, which touching it would answer
// with SIGBUS; but where a sandbox refuses the call that says so, it is touched.
Result<void> copy_mapped(std::span<const std::byte> from, std::span<std::byte> out);

// Asks for huge pages behind memory that is not touched yet, or behind a mapping of a file that is
// not in the page cache yet: what comes is then zeroed, or read, and mapped 2 MiB at a time. A
// wish: nothing happens where the kernel has none.
void want_huge_pages(std::span<const std::byte> range) noexcept;

// How many of the first `size_bytes` lie in the page cache. Nothing: the kernel does not say, as
// often to who neither owns the file nor may write it.
Result<std::optional<std::uint64_t>> resident_bytes(const File& file, std::uint64_t size_bytes);

}  // namespace cairn::os
