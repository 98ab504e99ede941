#include "lib/open/decoded_shard.h"

#include <utility>

#include "format/checked.h"
#include "format/digest.h"
#include "lib/os/machine.h"
#include "lib/read/identity.h"
#include "lib/try.h"

namespace cairn::internal {

std::uint64_t DecodedShard::begin() noexcept {
  constexpr unsigned kAlignmentBytes = 64;
  begin_bytes_ = end_bytes_ = format::round_up(end_bytes_, kAlignmentBytes);
  crc32c_ = 0;
  return begin_bytes_;
}

Result<void> DecodedShard::add(std::span<const std::byte> bytes) {
  if (!memory_) {
    CAIRN_TRY(memory, os::memory_file(path_));
    memory_ = std::move(memory);
  }
  CAIRN_CHECK(memory_->write_at(end_bytes_, bytes));
  crc32c_ = format::crc32c(bytes, crc32c_);
  end_bytes_ += bytes.size();
  live_bytes_ += bytes.size();
  return {};
}

format::Span DecodedShard::end(std::uint32_t shard) const noexcept {
  return {shard, begin_bytes_, end_bytes_ - begin_bytes_, crc32c_};
}

Result<void> DecodedShard::finish(const std::string& file_name, FileIndex& index) {
  if (!memory_) return {};
  CAIRN_CHECK(memory_->seal());
  CAIRN_TRY(info, memory_->info());
  index.facts.shards.push_back(
      {file_name + " (decoded)", format::ShardKind::AnyFile, identity_of(info), 0, 0, live_bytes_});
  index.decoded = OpenShard{*std::move(memory_), identity_of(info)};
  return {};
}

Result<void> check_memory(const WantedMemory& wanted) {
  if (wanted.bytes == 0) return {};
  const auto available = os::available_memory_bytes();  // takes longer than most files
  if (!available || wanted.bytes <= *available / 2) return {};
  return Error{Code::OutOfMemory, 0,
               wanted.what + " need " + std::to_string(wanted.bytes) +
                   " bytes of memory to be decoded, and half of what is available is " +
                   std::to_string(*available / 2) + "; " + wanted.hint};
}

}  // namespace cairn::internal
