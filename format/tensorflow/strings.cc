// Stored strings and variants. FORMAT.md, "Strings" and "Variants".
//
// Their sums run over other bytes than the stored ones: a length is fed as an integer of fixed
// width, not as the varint that stands in the file, so the sum of an entry can only be had by
// decoding it.

#include <bit>
#include <limits>

#include "format/checked.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/varint.h"

namespace cairn::format::tensorflow {

namespace {

constexpr std::uint64_t kSumBytes = sizeof(std::uint32_t);

template <class T>
std::uint32_t feed(std::uint32_t crc, T value) noexcept {
  std::byte bytes[sizeof value];
  store_le(bytes, value);
  return crc32c(bytes, crc);
}

std::uint32_t in_order(std::uint32_t value, bool big_endian) noexcept {
  return big_endian ? __builtin_bswap32(value) : value;
}

// Of a stored string tensor: its elements, its writer's byte order, its bytes.
struct StringShape {
  std::uint64_t count;
  bool big_endian;
  std::uint64_t size_bytes;
};

std::uint32_t load_sum(std::string_view at) noexcept {
  return load_le<std::uint32_t>(as_bytes(at).data());
}

std::uint64_t position(std::span<const std::byte> stored, std::string_view rest) noexcept {
  return stored.size() - rest.size();
}

std::string sums(std::uint32_t stored, std::uint32_t computed) {
  return "stored checksum " + crc32c_hex(stored) + ", computed " + crc32c_hex(computed);
}

}  // namespace

std::uint32_t feed_length(std::uint32_t crc, std::uint64_t length, bool big_endian) noexcept {
  if (fed_length_bytes(length) == sizeof(std::uint32_t)) {
    return feed(crc, in_order(static_cast<std::uint32_t>(length), big_endian));
  }
  return feed(crc, big_endian ? __builtin_bswap64(length) : length);
}

std::uint64_t fed_length_bytes(std::uint64_t length) noexcept {
  const bool fits = length <= std::numeric_limits<std::uint32_t>::max();
  return fits ? sizeof(std::uint32_t) : sizeof(std::uint64_t);
}

namespace {

// `keep` is given each length.
template <class Keep>
Decoded<StringLayout> decode_lengths(std::span<const std::byte> head, const StringShape& shape,
                                     Keep keep) {
  const auto [count, big_endian, size_bytes] = shape;
  StringLayout layout;
  if (count == 0 && size_bytes == 0) return layout;
  if (count > head.size()) {
    return corrupt(
        0, std::to_string(size_bytes) + " bytes cannot hold " + std::to_string(count) + " strings");
  }
  std::string_view rest = as_text(head);
  std::uint64_t payload_size = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto length = take_varint(rest);
    const auto total = checked_add(payload_size, length.value_or(0));
    if (!length || !total) {
      return corrupt(position(head, rest), "the length of string " + std::to_string(i) + " of " +
                                               std::to_string(count) + " is damaged");
    }
    payload_size = *total;
    keep(*length);
    layout.crc32c = feed_length(layout.crc32c, *length, big_endian);
  }
  const std::uint64_t left_bytes = size_bytes - position(head, rest);
  if (rest.size() < kSumBytes || left_bytes - kSumBytes != payload_size) {
    return corrupt(position(head, rest), "the strings and their checksum need " +
                                             std::to_string(payload_size) + " and 4 bytes, but " +
                                             std::to_string(left_bytes) + " are stored");
  }
  const std::uint32_t sum = crc32c_unmask(in_order(load_sum(rest), big_endian));
  if (sum != layout.crc32c) {
    return corrupt(position(head, rest),
                   "the strings' lengths are damaged: " + sums(sum, layout.crc32c));
  }
  layout.payload_offset = position(head, rest) + kSumBytes;
  layout.crc32c = crc32c(as_bytes(rest.substr(0, kSumBytes)), layout.crc32c);
  return layout;
}

}  // namespace

Decoded<StringLayout> decode_string_lengths(std::span<const std::byte> head, std::uint64_t count,
                                            bool big_endian, std::uint64_t size_bytes) {
  std::vector<std::uint64_t> lengths;
  if (count <= head.size()) lengths.reserve(count);
  auto layout = decode_lengths(head, {count, big_endian, size_bytes},
                               [&](std::uint64_t length) { lengths.push_back(length); });
  if (layout) layout->lengths = std::move(lengths);
  return layout;
}

Decoded<std::uint32_t> strings_crc32c(std::span<const std::byte> stored, std::uint64_t count,
                                      bool big_endian) {
  const auto layout =
      decode_lengths(stored, {count, big_endian, stored.size()}, [](std::uint64_t) {});
  if (!layout) return layout.error();
  return crc32c(stored.subspan(layout->payload_offset), layout->crc32c);
}

Decoded<StringLayout> decode_strings(std::span<const std::byte> stored, std::uint64_t count,
                                     bool big_endian) {
  auto layout = decode_string_lengths(stored, count, big_endian, stored.size());
  if (layout) layout->crc32c = crc32c(stored.subspan(layout->payload_offset), layout->crc32c);
  return layout;
}

StringHead encode_string_head(std::span<const std::string_view> values) {
  StringHead head;
  for (const std::string_view value : values) {
    append_varint(head.bytes, value.size());
    head.crc32c = feed_length(head.crc32c, value.size(), false);
  }
  const std::uint32_t masked = crc32c_mask(head.crc32c);
  append_le(head.bytes, masked);
  head.crc32c = feed(head.crc32c, masked);
  return head;
}

Decoded<std::uint32_t> variant_crc32c(std::span<const std::byte> stored, std::uint64_t count) {
  std::uint32_t crc = 0;
  std::string_view rest = as_text(stored);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto which = [&] {
      return "variant " + std::to_string(i) + " of " + std::to_string(count);
    };
    const auto size = take_varint(rest);
    if (!size || rest.size() < kSumBytes || *size > rest.size() - kSumBytes) {
      return corrupt(position(stored, rest), which() + " is cut off");
    }
    crc = crc32c(as_bytes(rest.substr(0, *size)), feed(crc, *size));
    rest.remove_prefix(*size);
    const std::uint32_t sum = crc32c_unmask(load_sum(rest));
    if (sum != crc) {
      return corrupt(position(stored, rest), which() + " is damaged: " + sums(sum, crc));
    }
    crc = crc32c(as_bytes(rest.substr(0, kSumBytes)), crc);
    rest.remove_prefix(kSumBytes);
  }
  if (!rest.empty()) {
    return corrupt(position(stored, rest), std::to_string(rest.size()) +
                                               " bytes come after the last of " +
                                               std::to_string(count) + " variants");
  }
  return crc;
}

}  // namespace cairn::format::tensorflow
