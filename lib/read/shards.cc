// Copies are read through the shard's descriptor, so that nothing faults. Exceptions: Access::Copy,
// and Access::Private, whose pages the caller may have changed. There the kernel copies the memory
// for us. If the file was truncated or the disk cannot read a page, the kernel returns an error;
// touching the page would raise a signal.
//
// If the file system cannot map files, the shard is an address range without bytes, and fetch()
// reads the requested bytes into it. Decoded values are in a file in memory, which is mapped and
// read like any other file; read_at() and fetch() decode them first. Access::Private decodes
// everything when it opens, because a page that the caller has written to does not show what is
// decoded later.

#include "lib/read/shards.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "lib/try.h"

namespace cairn::internal {

Result<void> Shards::place(std::uint64_t size_bytes) {
  fetched_.emplace_back();
  if (access_ == Access::Copy) {
    CAIRN_TRY(memory, os::Mapping::allocate(size_bytes));
    bytes_.push_back(std::move(memory));
    return {};
  }
  const auto mode = access_ == Access::Private ? os::MapMode::CopyOnWrite : os::MapMode::ReadOnly;
  auto mapping = os::Mapping::map(files_[bytes_.size()], size_bytes, mode);
  if (mapping) {
    mapping->guard();
  } else if (os::is_unmappable(mapping.error())) {
    fetched_.back() = std::make_unique<Fetched>();
    mapping = os::Mapping::reserve(size_bytes);
  }
  if (!mapping) return std::move(mapping).error();
  bytes_.push_back(*std::move(mapping));
  return {};
}

void Shards::place_in(std::span<std::byte> memory, std::shared_ptr<void> owner) {
  fetched_.emplace_back();
  bytes_.push_back(os::Mapping::borrow(memory, std::move(owner)));
}

std::optional<std::uint32_t> Shards::first_unmapped() const noexcept {
  const auto found =
      std::ranges::find_if(fetched_, [](const auto& fetched) { return fetched != nullptr; });
  if (found == fetched_.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - fetched_.begin());
}

Result<void> Shards::read_at(std::uint32_t shard, std::uint64_t offset_bytes,
                             std::span<std::byte> out) const {
  CAIRN_CHECK(ensure_decoded({shard, offset_bytes, out.size(), {}}));
  return files_[shard].read_at(offset_bytes, out);
}

Result<void> Shards::fetch(const format::Span& span) const {
  CAIRN_CHECK(ensure_decoded(span));
  Fetched* const fetched = fetched_[span.shard].get();
  if (fetched == nullptr) return {};
  return fetched->ensure(files_[span.shard], span.offset_bytes, in_memory(span));
}

Result<void> Shards::copy_out(std::uint32_t shard, std::uint64_t offset_bytes,
                              std::span<std::byte> out) const {
  if (access_ == Access::Shared) return read_at(shard, offset_bytes, out);
  if (out.empty()) return {};
  const std::span<const std::byte> from = in_memory({shard, offset_bytes, out.size(), {}});
  if (access_ == Access::Copy) {
    std::memcpy(out.data(), from.data(), out.size());
    return {};
  }
  CAIRN_CHECK(fetch({shard, offset_bytes, out.size(), {}}));
  auto done = os::copy_mapped(from, out);
  if (done) return done;
  return Error{done.error().code, done.error().os_errno,
               file(shard).path() + ": bytes " + std::to_string(offset_bytes) + " to " +
                   std::to_string(offset_bytes + out.size()) + ": " + done.error().what};
}

Result<void> Shards::populate(const format::Span& span) const {
  CAIRN_CHECK(ensure_not_faulted(span.shard));
  CAIRN_CHECK(fetch(span));
  if (fetched_[span.shard] != nullptr) return {};
  auto done = os::populate(in_memory(span));
  if (!done && done.error().code == Code::Unsupported) {
    std::vector<std::byte> scratch(span.size_bytes);
    done = files_[span.shard].read_at(span.offset_bytes, scratch);
  }
  if (done) return done;
  return Error{Code::Io, done.error().os_errno, file(span.shard).path() + ": " + done.error().what};
}

Result<std::uint64_t> Shards::resident_bytes() const {
  std::uint64_t total_bytes = 0;
  for (std::uint32_t shard = 0; shard < count(); ++shard) {
    CAIRN_TRY(bytes, os::resident_bytes(file(shard), memory(shard).size()));
    if (!bytes) {
      return Error{Code::Unsupported, 0,
                   file(shard).path() +
                       ": it is not known how much of it is in the page cache: this system tells "
                       "it only to the owner of the file and to users who may write it, and only "
                       "if the file can be mapped (cachestat, Linux 6.5, is missing or refused)"};
    }
    total_bytes += *bytes;
  }
  return total_bytes;
}

bool Shards::faulted() const noexcept {
  return os::any_faulted() && std::ranges::any_of(bytes_, &os::Mapping::faulted);
}

Result<void> Shards::ensure_not_faulted() const {
  for (std::uint32_t shard = 0; shard < count(); ++shard) CAIRN_CHECK(ensure_not_faulted(shard));
  return {};
}

Result<void> Shards::check_fault(std::uint32_t shard) const {
  if (!bytes_[shard].faulted()) return {};
  return Error{Code::Io, 0,
               file(shard).path() +
                   ": was truncated or could not be read while it was mapped; some of its bytes in "
                   "memory are zeros; open the checkpoint again"};
}

}  // namespace cairn::internal
