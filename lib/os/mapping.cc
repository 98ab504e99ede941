// Boost.Interprocess maps, we check. Its file_mapping opens by path, without O_CLOEXEC or
// O_NOFOLLOW, and mapped_region maps past the end of a file without a word; but it takes any object
// with get_mapping_handle(), so it gets our descriptor, of a file whose length we have just seen.
// It throws, also for an empty range: this file is where that stops.

#include "lib/os/mapping.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/os/guarded.h"
#include "lib/os/page_cache.h"
#include "lib/os/refused.h"
#include "lib/try.h"

namespace cairn::os {
namespace {

namespace interprocess = boost::interprocess;

// What Boost needs to know of a file.
struct MappableDescriptor {
  int fd;
  interprocess::mapping_handle_t get_mapping_handle() const noexcept { return {fd, false}; }
};

std::uint64_t page_bytes() noexcept { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

// To who neither owns a file nor may write it, mincore says since Linux 5.2 that every page is
// there.
bool may_use_mincore(const File& file) {
  struct stat status{};
  if (::fstat(file.fd(), &status) != 0) return false;
  if (status.st_uid == ::geteuid()) return true;
  // access asks for the real user, which is the effective one but in programs with a setuid bit.
  const std::string same = "/proc/self/fd/" + std::to_string(file.fd());
  return ::getuid() == ::geteuid() && ::getgid() == ::getegid() &&
         ::access(same.c_str(), W_OK) == 0;
}

}  // namespace

struct Mapping::Owner {
  interprocess::mapped_region region;
  void* memory = nullptr;
  std::size_t memory_bytes = 0;
  std::shared_ptr<void> lender;
  PageAccess access = PageAccess::ReadOnly;
  std::optional<GuardedRange> guarded;  // the last: it goes before the region that it lists

  Owner() = default;
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  ~Owner() {
    if (memory != nullptr) ::munmap(memory, memory_bytes);
  }
};

Mapping::Mapping() noexcept = default;
Mapping::Mapping(Mapping&&) noexcept = default;
Mapping& Mapping::operator=(Mapping&&) noexcept = default;
Mapping::~Mapping() = default;

Result<Mapping> Mapping::map(const File& file, std::uint64_t size_bytes, MapMode mode) {
  CAIRN_TRY(info, file.info());
  if (info.size_bytes < size_bytes) {
    return Error{Code::Io, 0,
                 file.path() + ": has " + std::to_string(info.size_bytes) + " bytes, but " +
                     std::to_string(size_bytes) + " are to be mapped"};
  }
  Mapping mapping;
  if (size_bytes == 0) return mapping;
  mapping.owner_ = std::make_unique<Owner>();
  try {
    const bool is_private = mode == MapMode::CopyOnWrite;
    if (is_private) mapping.owner_->access = PageAccess::Writable;
    // No swap is set aside for pages of a large model that will mostly never be written to.
    const interprocess::map_options_t options =
        is_private ? MAP_NORESERVE : interprocess::default_map_options;
    mapping.owner_->region = interprocess::mapped_region(
        MappableDescriptor{file.fd()},
        is_private ? interprocess::copy_on_write : interprocess::read_only, 0, size_bytes, nullptr,
        options);
  } catch (const interprocess::interprocess_exception& error) {
    errno = error.get_native_error();
    return system_error(file.path(), "cannot map " + std::to_string(size_bytes) + " bytes");
  }
  mapping.bytes_ = {static_cast<std::byte*>(mapping.owner_->region.get_address()), size_bytes};
  return mapping;
}

Result<Mapping> Mapping::allocate(std::uint64_t size_bytes) {
  Mapping mapping;
  if (size_bytes == 0) return mapping;
  mapping.owner_ = std::make_unique<Owner>();
  void* memory =
      ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Error{Code::OutOfMemory, ENOMEM, "out of memory"};
  mapping.owner_->memory = memory;
  mapping.owner_->memory_bytes = size_bytes;
  ::madvise(memory, size_bytes, MADV_HUGEPAGE);  // a wish: refused where the kernel has none
  mapping.bytes_ = {static_cast<std::byte*>(memory), size_bytes};
  return mapping;
}

Result<Mapping> Mapping::reserve(std::uint64_t size_bytes) {
  Mapping mapping;
  if (size_bytes == 0) return mapping;
  mapping.owner_ = std::make_unique<Owner>();
  void* memory = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Error{Code::OutOfMemory, ENOMEM, "out of memory"};
  mapping.owner_->memory = memory;
  mapping.owner_->memory_bytes = size_bytes;
  mapping.bytes_ = {static_cast<std::byte*>(memory), size_bytes};
  return mapping;
}

Mapping Mapping::borrow(std::span<std::byte> memory, std::shared_ptr<void> owner) {
  Mapping mapping;
  mapping.owner_ = std::make_unique<Owner>();
  mapping.owner_->lender = std::move(owner);
  mapping.bytes_ = memory;
  return mapping;
}

void Mapping::guard() {
  if (bytes_.empty()) return;
  const std::uint64_t pages = (bytes_.size() + page_bytes() - 1) / page_bytes();
  owner_->guarded.emplace(std::span(bytes_.data(), pages * page_bytes()), owner_->access);
}

bool Mapping::faulted() const noexcept {
  return owner_ != nullptr && owner_->guarded && owner_->guarded->faulted();
}

bool is_unmappable(const Error& error) noexcept {
  return error.os_errno == ENODEV || error.os_errno == EOPNOTSUPP || error.os_errno == ENOSYS;
}

Result<void> populate(std::span<const std::byte> range) {
  if (range.empty()) return {};
  const std::size_t before = reinterpret_cast<std::uintptr_t>(range.data()) % page_bytes();
  auto* const start = const_cast<std::byte*>(range.data()) - before;
  if (::madvise(start, before + range.size(), MADV_POPULATE_READ) == 0) return {};
  if (const int number = errno; number == EINVAL || means_no_such_call(number))
    return Error{Code::Unsupported, number, "this kernel cannot populate a mapping"};
  return system_error("mapping", "cannot read its pages");
}

// The kernel reads this process's memory as it would another's: a page that is not there ends the
// call, and no signal comes.
Result<void> copy_mapped(std::span<const std::byte> from, std::span<std::byte> out) {
  while (!out.empty()) {
    const iovec target{out.data(), out.size()};
    const iovec source{const_cast<std::byte*>(from.data()), out.size()};
    const ssize_t count = ::process_vm_readv(::getpid(), &target, 1, &source, 1, 0);
    if (count < 0 && means_no_such_call(errno)) {
      std::memcpy(out.data(), from.data(), out.size());
      return {};
    }
    if (count <= 0) return system_error("mapping", "cannot read its pages");
    from = from.subspan(static_cast<std::size_t>(count));
    out = out.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

void want_huge_pages(std::span<const std::byte> range) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(range.data());
  const std::size_t skipped = (page_bytes() - address % page_bytes()) % page_bytes();
  if (range.size() <= skipped) return;
  const std::span<const std::byte> pages = range.subspan(skipped);
  ::madvise(const_cast<std::byte*>(pages.data()), pages.size(), MADV_HUGEPAGE);
}

Result<std::optional<std::uint64_t>> resident_bytes(const File& file, std::uint64_t size_bytes) {
  if (size_bytes == 0) return std::optional<std::uint64_t>(0);
  if (const auto cached = cached_bytes(file, 0, size_bytes)) return std::optional(*cached);
  // EPERM: a sandbox that does not know the call, or, since Linux 6.14, what mincore says by a lie.
  if (errno != EOPNOTSUPP && !means_no_such_call(errno))
    return system_error(file.path(), "cannot ask the page cache");
  if (!may_use_mincore(file)) return std::optional<std::uint64_t>();
  const auto mapping = Mapping::map(file, size_bytes, MapMode::ReadOnly);
  if (!mapping && is_unmappable(mapping.error())) return std::optional<std::uint64_t>();
  if (!mapping) return mapping.error();
  std::vector<unsigned char> there((size_bytes + page_bytes() - 1) / page_bytes());
  if (::mincore(mapping->bytes().data(), size_bytes, there.data()) != 0) {
    if (means_no_such_call(errno)) return std::optional<std::uint64_t>();
    return system_error(file.path(), "cannot ask the page cache");
  }
  std::uint64_t count = 0;
  for (const unsigned char page : there) count += page & 1u;
  return std::optional(std::min(count * page_bytes(), size_bytes));
}

}  // namespace cairn::os
