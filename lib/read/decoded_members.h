#pragma once

// A shard in memory whose parts are decoded when they are first used: what a format stores
// compressed, or in a form that cannot be mapped.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "lib/os/file.h"

namespace cairn::internal {

class DecodedMembers {
 public:
  // Decodes one member out of the checkpoint's shards, and writes it to `to` from `offset_bytes`
  // on.
  using Decode = std::function<Result<void>(std::span<const os::File> shards, const os::File& to,
                                            std::uint64_t offset_bytes)>;

  // `what`: the file, for the sentence that refuses to decode so much.
  explicit DecodedMembers(std::string what) : what_(std::move(what)) {}

  // One more member, behind the others and aligned to 64 bytes. Returns its place in the memory.
  std::uint64_t add(std::uint64_t size_bytes, Decode decode);

  // Gives the memory the length that all members need. After the last add().
  Result<void> make_room(const os::File& memory) const;

  std::uint64_t end_bytes() const noexcept { return end_bytes_; }
  std::uint64_t members_bytes() const noexcept { return members_bytes_; }

  // Decodes the members that have bytes in this range, but for those that are decoded already.
  // `shards`: of the checkpoint, the last one is the memory. Errors: those of Decode; OutOfMemory:
  // together they take more than half of the memory that was available at the first call.
  // Threads: any; different members are decoded beside each other.
  Result<void> ensure(std::span<const os::File> shards, std::uint64_t offset_bytes,
                      std::uint64_t size_bytes);
  Result<void> ensure_all(std::span<const os::File> shards) {
    return ensure(shards, 0, end_bytes_);
  }

 private:
  struct Member {
    std::uint64_t offset_bytes;
    std::uint64_t size_bytes;
    Decode decode;
    std::mutex mutex;
    bool done = false;  // under the mutex
  };

  Result<void> decode(Member& member, std::span<const os::File> shards);
  Result<void> take_room(std::uint64_t size_bytes);

  std::string what_;
  std::vector<std::unique_ptr<Member>> members_;  // by offset
  std::uint64_t end_bytes_ = 0;
  std::uint64_t members_bytes_ = 0;
  std::mutex room_mutex_;
  std::uint64_t room_bytes_ = 0;  // that may still be decoded
  bool room_known_ = false;
};

}  // namespace cairn::internal
