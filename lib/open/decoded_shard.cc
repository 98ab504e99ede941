#include "lib/open/decoded_shard.h"

#include <utility>

#include "format/checked.h"
#include "format/digest.h"
#include "lib/read/identity.h"
#include "lib/try.h"

namespace cairn::internal {

Result<std::uint64_t> DecodedShard::begin() {
  constexpr unsigned kAlignmentBytes = 64;
  if (!memory_) {
    CAIRN_TRY(memory, os::memory_file(path_ + " (decoded)"));
    memory_ = std::move(memory);
  }
  begin_bytes_ = end_bytes_ = format::round_up(end_bytes_, kAlignmentBytes);
  crc32c_ = 0;
  return begin_bytes_;
}

Result<void> DecodedShard::add(std::span<const std::byte> bytes) {
  CAIRN_CHECK(memory_->write_at(end_bytes_, bytes));
  crc32c_ = format::crc32c(bytes, crc32c_);
  end_bytes_ += bytes.size();
  live_bytes_ += bytes.size();
  return {};
}

format::Span DecodedShard::end() const noexcept {
  return {1, begin_bytes_, end_bytes_ - begin_bytes_, crc32c_};
}

Result<DecodedShard::Finished> DecodedShard::finish(const std::string& file_name) {
  CAIRN_CHECK(memory_->seal());
  CAIRN_TRY(info, memory_->info());
  const format::FileIdentity identity = identity_of(info);
  return Finished{
      {*std::move(memory_), identity},
      {file_name + " (decoded)", format::ShardKind::AnyFile, identity, 0, 0, live_bytes_}};
}

}  // namespace cairn::internal
