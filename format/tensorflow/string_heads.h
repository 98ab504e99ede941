#pragma once

// The heads of stored string tensors (their lengths, and the checksum of those), of which many may
// lie over one another: each byte is read once for all of them.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <queue>
#include <span>
#include <utility>
#include <vector>

namespace cairn::format::tensorflow {

// Where a string tensor of so many elements is stored.
struct StringPlace {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t count = 0;
};

struct StringStart {
  bool sound = false;                // the lengths add up and have their checksum
  std::uint64_t payload_offset = 0;  // in the file: where the first string starts
  std::uint32_t crc32c = 0;          // of what comes before, to be continued over the strings
};

class StringHeads {
 public:
  // `places`: in the order of their offsets; they must outlive this.
  StringHeads(std::span<const StringPlace> places, bool big_endian);

  // Which bytes are to be taken next: from where, and how many there are at least that some head
  // needs, if none is damaged. Nothing: all heads are known.
  struct Need {
    std::uint64_t offset_bytes = 0;
    std::uint64_t size_bytes = 0;
  };
  std::optional<Need> need();

  // The bytes from there on: any number but none.
  void take(std::span<const std::byte> bytes);

  // Parallel to the places, once there is no more need.
  std::span<const StringStart> starts() const noexcept { return starts_; }

 private:
  // What has been read so far, as running sums: those of a range come of the two at its ends.
  struct Running {
    std::uint32_t crc32c = 0;     // of the lengths as they are fed
    std::uint64_t fed_bytes = 0;  // how many
    std::uint64_t sum = 0;        // of the lengths, without what is carried beyond 64 bits
    std::uint64_t carried = 0;
    std::uint64_t bad_count = 0;  // lengths that do not fit into 64 bits
  };
  struct Head {
    Running before;  // when its first length had ended
    std::uint32_t first_crc32c = 0;
    std::uint64_t first = 0;
    bool first_bad = false;
    bool open = false;
  };
  struct Summing {
    std::size_t place;
    std::uint64_t end;  // of the checksum
    std::uint32_t crc32c;
  };
  // A number, and the place that it means; the least first.
  using Mark = std::pair<std::uint64_t, std::size_t>;
  using Marks = std::priority_queue<Mark, std::vector<Mark>, std::greater<>>;

  void jump();
  void begin_here();
  void step(std::byte byte);
  void end_length();
  void end_lengths(std::size_t place);
  void end_sums();
  void cut_off();
  void close(std::size_t place);
  std::optional<std::uint64_t> length_from(std::uint64_t offset_bytes) const;
  void feed(std::uint64_t length);
  void flush();
  static std::optional<std::uint64_t> sum_between(const Running& before, const Running& after,
                                                  std::uint64_t first);

  std::span<const StringPlace> places_;
  bool big_endian_;
  std::vector<StringStart> starts_;
  std::vector<Head> heads_;
  std::size_t next_ = 0;        // the first place that has not begun
  std::size_t open_count_ = 0;  // of those that have
  std::uint64_t at_ = 0;
  std::uint64_t length_begin_ = 0;  // of the length that is being read
  std::uint64_t ended_count_ = 0;   // of lengths
  std::uint64_t farthest_ = 0;      // of lengths, by what the open heads want
  Running running_;                 // its crc32c lags behind by what is in fed_
  std::array<std::byte, 4096> fed_{};
  std::size_t fed_count_ = 0;
  std::array<std::byte, 16> recent_{};
  std::vector<std::size_t> starting_;  // in their first length
  Marks wanted_;                       // by the count of lengths that end theirs
  Marks ends_;                         // by the ends of the places
  std::deque<Summing> summing_;        // in front of the checksum, the first to end first
};

}  // namespace cairn::format::tensorflow
