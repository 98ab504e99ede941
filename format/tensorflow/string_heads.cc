// A length ends at the first byte below 0x80, wherever one begins to read. So tensors that lie over
// one another read the same lengths, but for the first one, into which a tensor may begin. Lengths
// are counted as they end; a head is over when the count that it wants is reached, and what it
// needs of the lengths between, their checksum and their sum, comes of running ones.

#include "format/tensorflow/string_heads.h"

#include <algorithm>

#include "format/checked.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"

namespace cairn::format::tensorflow {
namespace {

constexpr std::uint64_t kSumBytes = sizeof(std::uint32_t);
constexpr std::uint64_t kLengthBytesMax = 10;
constexpr std::uint64_t kNeedBytesMin = 64;

}  // namespace

StringHeads::StringHeads(std::span<const StringPlace> places, bool big_endian)
    : places_(places), big_endian_(big_endian), starts_(places.size()), heads_(places.size()) {}

std::optional<StringHeads::Need> StringHeads::need() {
  while (open_count_ == 0 && next_ < places_.size()) {
    jump();
    begin_here();
  }
  if (open_count_ == 0) return std::nullopt;
  const std::uint64_t lengths = farthest_ > ended_count_ ? farthest_ - ended_count_ : 0;
  return Need{at_, std::max(lengths + kSumBytes, kNeedBytesMin)};
}

void StringHeads::take(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    if (open_count_ == 0) return;  // need() says where it goes on
    begin_here();
    step(byte);
  }
}

// To the next place; whatever was counted before means nothing there.
void StringHeads::jump() {
  at_ = length_begin_ = places_[next_].offset_bytes;
  farthest_ = ended_count_;
  starting_.clear();
  summing_.clear();
  wanted_ = {};
  ends_ = {};
}

void StringHeads::begin_here() {
  for (; next_ < places_.size() && places_[next_].offset_bytes == at_; ++next_) {
    const StringPlace& place = places_[next_];
    StringStart& start = starts_[next_];
    start.payload_offset = place.offset_bytes;
    start.sound = place.count == 0 && place.size_bytes == 0;
    // Each length takes a byte at least.
    if (place.size_bytes < kSumBytes || place.count > place.size_bytes - kSumBytes) continue;
    heads_[next_].open = true;
    ++open_count_;
    ends_.emplace(place.offset_bytes + place.size_bytes, next_);
    if (place.count == 0 && place.size_bytes == kSumBytes)
      summing_.push_back({next_, at_ + kSumBytes, 0});
    else if (place.count == 0)
      close(next_);
    else
      starting_.push_back(next_);
    farthest_ = std::max(farthest_, ended_count_ + place.count);
  }
}

void StringHeads::step(std::byte byte) {
  recent_[at_ % recent_.size()] = byte;
  ++at_;
  end_sums();
  if (std::to_integer<unsigned>(byte) < 0x80) end_length();
  cut_off();
}

// The length that ends here and began there; nothing: it is none.
std::optional<std::uint64_t> StringHeads::length_from(std::uint64_t offset_bytes) const {
  const std::uint64_t size_bytes = at_ - offset_bytes;
  if (size_bytes > kLengthBytesMax) return std::nullopt;
  std::uint64_t length = 0;
  for (std::uint64_t i = 0; i < size_bytes; ++i) {
    const auto byte = std::to_integer<std::uint64_t>(recent_[(offset_bytes + i) % recent_.size()]);
    if (i == kLengthBytesMax - 1 && byte > 1) return std::nullopt;
    length |= (byte & 0x7f) << (7 * i);
  }
  return length;
}

// To sum four bytes costs as much as to sum hundreds.
void StringHeads::feed(std::uint64_t length) {
  if (fed_.size() - fed_count_ < sizeof length) flush();
  std::byte* const to = fed_.data() + fed_count_;
  const std::uint64_t count = fed_length_bytes(length);
  if (count == sizeof(std::uint32_t)) {
    const auto narrow = static_cast<std::uint32_t>(length);
    store_le(to, big_endian_ ? __builtin_bswap32(narrow) : narrow);
  } else {
    store_le(to, big_endian_ ? __builtin_bswap64(length) : length);
  }
  fed_count_ += count;
  running_.fed_bytes += count;
}

void StringHeads::flush() {
  running_.crc32c = crc32c(std::span(fed_).first(fed_count_), running_.crc32c);
  fed_count_ = 0;
}

void StringHeads::end_length() {
  ++ended_count_;
  if (const auto length = length_from(length_begin_)) {
    feed(*length);
    running_.sum += *length;
    running_.carried += running_.sum < *length ? 1 : 0;
  } else {
    ++running_.bad_count;
  }
  length_begin_ = at_;
  if (!starting_.empty()) flush();
  for (const std::size_t place : starting_) {
    Head& head = heads_[place];
    const auto first = length_from(places_[place].offset_bytes);
    head.first_bad = !first;
    head.first = first.value_or(0);
    head.first_crc32c = feed_length(0, head.first, big_endian_);
    head.before = running_;
    wanted_.emplace(ended_count_ + places_[place].count - 1, place);
  }
  starting_.clear();
  for (; !wanted_.empty() && wanted_.top().first == ended_count_; wanted_.pop())
    end_lengths(wanted_.top().second);
}

// The lengths between two moments, and one more; nothing: beyond 64 bits.
std::optional<std::uint64_t> StringHeads::sum_between(const Running& before, const Running& after,
                                                      std::uint64_t first) {
  const std::uint64_t borrowed = after.sum < before.sum ? 1 : 0;
  if (after.carried - before.carried != borrowed) return std::nullopt;
  return checked_add(after.sum - before.sum, first);
}

// The sum of A and then B is that of A, moved on by the length of B, and that of B, put together by
// an exclusive or. So the same call makes the sum of B of the other two.
void StringHeads::end_lengths(std::size_t place) {
  Head& head = heads_[place];
  if (!head.open) return;
  flush();
  const StringPlace& where = places_[place];
  const std::uint64_t rest_bytes = running_.fed_bytes - head.before.fed_bytes;
  std::uint32_t crc = head.first_crc32c;
  if (rest_bytes != 0) {
    const std::uint32_t rest = crc32c_combine(head.before.crc32c, running_.crc32c, rest_bytes);
    crc = crc32c_combine(crc, rest, rest_bytes);
  }
  const std::uint64_t left_bytes = where.offset_bytes + where.size_bytes - at_;
  const bool bad = head.first_bad || running_.bad_count != head.before.bad_count;
  const auto wanted = sum_between(head.before, running_, head.first);
  if (bad || left_bytes < kSumBytes || wanted != left_bytes - kSumBytes) return close(place);
  summing_.push_back({place, at_ + kSumBytes, crc});
}

void StringHeads::end_sums() {
  for (; !summing_.empty() && summing_.front().end == at_; summing_.pop_front()) {
    const auto [place, end, crc] = summing_.front();
    if (!heads_[place].open) continue;
    std::array<std::byte, kSumBytes> bytes{};
    for (std::uint64_t i = 0; i < kSumBytes; ++i)
      bytes[i] = recent_[(end - kSumBytes + i) % recent_.size()];
    const auto stored = load_le<std::uint32_t>(bytes.data());
    starts_[place].sound = crc32c_unmask(big_endian_ ? __builtin_bswap32(stored) : stored) == crc;
    starts_[place].payload_offset = at_;
    starts_[place].crc32c = format::crc32c(bytes, crc);
    close(place);
  }
}

// Those whose place ends before their head.
void StringHeads::cut_off() {
  for (; !ends_.empty() && ends_.top().first <= at_; ends_.pop()) {
    if (heads_[ends_.top().second].open) close(ends_.top().second);
  }
}

void StringHeads::close(std::size_t place) {
  heads_[place].open = false;
  --open_count_;
}

}  // namespace cairn::format::tensorflow
