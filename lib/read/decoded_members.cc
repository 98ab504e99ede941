#include "lib/read/decoded_members.h"

#include <algorithm>
#include <array>
#include <utility>

#include "format/checked.h"
#include "lib/os/machine.h"
#include "lib/try.h"

namespace cairn::internal {

std::uint64_t DecodedMembers::add(std::uint64_t size_bytes, Decode decode) {
  constexpr std::uint64_t kAlignmentBytes = 64;
  if (size_bytes == 0) return end_bytes_;
  auto member = std::make_unique<Member>();
  member->offset_bytes = format::round_up(end_bytes_, kAlignmentBytes);
  member->size_bytes = size_bytes;
  member->decode = std::move(decode);
  end_bytes_ = member->offset_bytes + size_bytes;
  members_bytes_ += size_bytes;
  members_.push_back(std::move(member));
  return members_.back()->offset_bytes;
}

Result<void> DecodedMembers::make_room(const os::File& memory) const {
  CAIRN_TRY(info, memory.info());
  if (end_bytes_ <= info.size_bytes) return {};
  return memory.write_at(end_bytes_ - 1, std::array{std::byte{}});
}

// So that a small file does not take all memory.
Result<void> DecodedMembers::take_room(std::uint64_t size_bytes) {
  const std::lock_guard lock(room_mutex_);
  if (!room_known_) {
    const auto available = os::available_memory_bytes();
    room_bytes_ = available ? *available / 2 : ~std::uint64_t{0};
    room_known_ = true;
  }
  if (size_bytes > room_bytes_) {
    return Error{Code::OutOfMemory, 0,
                 what_ + ": what is compressed in it has " + std::to_string(members_bytes_) +
                     " bytes when it is decoded; " + std::to_string(size_bytes) +
                     " more are too many, of half of the memory that was available " +
                     std::to_string(room_bytes_) +
                     " bytes are left; read fewer tensors, or use convert() (cairn convert) on a "
                     "larger machine"};
  }
  room_bytes_ -= size_bytes;
  return {};
}

Result<void> DecodedMembers::decode(Member& member, std::span<const os::File> shards) {
  const std::lock_guard lock(member.mutex);
  if (member.done) return {};
  CAIRN_CHECK(take_room(member.size_bytes));
  auto done = member.decode(shards, shards.back(), member.offset_bytes);
  member.done = done.has_value();
  if (done) return done;
  const std::lock_guard room(room_mutex_);
  room_bytes_ += member.size_bytes;
  return done;
}

Result<void> DecodedMembers::ensure(std::span<const os::File> shards, std::uint64_t offset_bytes,
                                    std::uint64_t size_bytes) {
  if (size_bytes == 0) return {};
  auto next = std::ranges::partition_point(members_, [&](const auto& member) {
    return member->offset_bytes + member->size_bytes <= offset_bytes;
  });
  for (; next != members_.end() && (*next)->offset_bytes < offset_bytes + size_bytes; ++next)
    CAIRN_CHECK(decode(**next, shards));
  return {};
}

}  // namespace cairn::internal
