// lib/os/mapping.h a second time: a mapping is a copy, aligned as pages are.

#include "lib/os/mapping.h"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "lib/try.h"

namespace cairn::os {
namespace {

constexpr std::align_val_t kPageBytes{4096};

}  // namespace

struct Mapping::Owner {
  explicit Owner(std::size_t size_bytes)
      : memory(static_cast<std::byte*>(::operator new(size_bytes, kPageBytes))) {}
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  ~Owner() { ::operator delete(memory, kPageBytes); }

  std::byte* memory;
  std::shared_ptr<void> lender;  // of memory that is borrowed
};

Mapping::Mapping() noexcept = default;
Mapping::Mapping(Mapping&&) noexcept = default;
Mapping& Mapping::operator=(Mapping&&) noexcept = default;
Mapping::~Mapping() = default;

Result<Mapping> Mapping::map(const File& file, std::uint64_t size_bytes, MapMode) {
  CAIRN_TRY(info, file.info());
  if (info.size_bytes < size_bytes) return Error{Code::Io, 0, file.path() + ": is too short"};
  CAIRN_TRY(mapping, allocate(size_bytes));
  CAIRN_CHECK(file.read_at(0, mapping.bytes()));
  return std::move(mapping);
}

Result<Mapping> Mapping::allocate(std::uint64_t size_bytes) {
  Mapping mapping;
  if (size_bytes == 0) return mapping;
  mapping.owner_ = std::make_unique<Owner>(size_bytes);
  mapping.bytes_ = {mapping.owner_->memory, size_bytes};
  std::ranges::fill(mapping.bytes_, std::byte{0});
  return mapping;
}

Result<Mapping> Mapping::reserve(std::uint64_t size_bytes) { return allocate(size_bytes); }

Mapping Mapping::borrow(std::span<std::byte> memory, std::shared_ptr<void> owner) {
  Mapping mapping;
  mapping.owner_ = std::make_unique<Owner>(0);
  mapping.owner_->lender = std::move(owner);
  mapping.bytes_ = memory;
  return mapping;
}

bool is_unmappable(const Error&) noexcept { return false; }

void Mapping::guard() {}

bool Mapping::faulted() const noexcept { return false; }

Result<void> populate(std::span<const std::byte>) { return {}; }

Result<void> copy_mapped(std::span<const std::byte> from, std::span<std::byte> out) {
  std::ranges::copy(from.first(out.size()), out.begin());
  return {};
}

void want_huge_pages(std::span<const std::byte>) noexcept {}

Result<std::optional<std::uint64_t>> resident_bytes(const File&, std::uint64_t size_bytes) {
  return std::optional(size_bytes);
}

}  // namespace cairn::os
