#pragma once

// A shard in memory whose parts (members) are decoded when they are first used, because the format
// stores them compressed, or in a form that cannot be mapped.

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
  // Decodes one member from the checkpoint's shards, and writes it to `to`, from `offset_bytes` on.
  using Decode = std::function<Result<void>(std::span<const os::File> shards, const os::File& to,
                                            std::uint64_t offset_bytes)>;

  // `what`: the file, for the message when it would take too much memory.
  explicit DecodedMembers(std::string what) : what_(std::move(what)) {}

  // Adds a member after the others, aligned to 64 bytes. Returns its offset in the memory.
  std::uint64_t add(std::uint64_t size_bytes, Decode decode);

  // After the last add(). Gives the memory the length that all members need.
  Result<void> make_room(const os::File& memory) const;

  std::uint64_t end_bytes() const noexcept { return end_bytes_; }
  std::uint64_t members_bytes() const noexcept { return members_bytes_; }

  // Decodes the members that have bytes in this range and are not decoded yet. `shards`: those of
  // the checkpoint; the last one is the memory. Errors: those of Decode; OutOfMemory: together the
  // members take more than half of the memory that was available at the first call. Threads: any;
  // different members are decoded at the same time.
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
