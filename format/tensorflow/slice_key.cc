#include "format/tensorflow/bundle.h"

// Keys of slices are OrderedCode: byte strings that sort as what they encode. All begin with 00, so
// they stand before ordinary names. FORMAT.md, "Keys of slices".

#include <bit>

namespace cairn::format::tensorflow {

namespace {

int bit_count(std::uint64_t value) noexcept { return static_cast<int>(std::bit_width(value)); }

// The number's bytes, the highest first, without zeros in front; before them how many they are.
void append_number(std::string& out, std::uint64_t value) {
  const int bytes = (bit_count(value) + 7) / 8;
  out.push_back(static_cast<char>(bytes));
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// 00 and ff are escaped by each other; 00 01 ends the string.
void append_string(std::string& out, std::string_view text) {
  for (const char byte : text) {
    out.push_back(byte);
    if (byte == '\x00') out.push_back('\xff');
    if (byte == '\xff') out.push_back('\x00');
  }
  out.append("\x00\x01", 2);
}

// `length` bytes of two's complement, the highest first, of which each has 7 bits: the leading
// `length` bits, all of them 1, say how many bytes there are, and are inverted by a sign bit of 1.
void append_signed(std::string& out, std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  const int length = bit_count(value < 0 ? ~bits : bits) / 7 + 1;
  const auto sign = static_cast<unsigned>(value < 0 ? 0xff : 0);
  const unsigned header = 0xffffu << (16 - length) & 0xffffu;
  for (int i = 0; i < length; ++i) {
    const int shift = 8 * (length - 1 - i);
    unsigned byte = shift < 64 ? static_cast<unsigned>(bits >> shift & 0xff) : sign;
    if (i < 2) byte ^= header >> (8 * (1 - i)) & 0xff;
    out.push_back(static_cast<char>(byte));
  }
}

}  // namespace

std::string slice_key(std::string_view name, std::span<const Extent> extents) {
  std::string key;
  append_number(key, 0);
  append_string(key, name);
  append_number(key, extents.size());
  for (const Extent& extent : extents) {
    append_signed(key, extent.start);
    append_signed(key, extent.length);
  }
  return key;
}

}  // namespace cairn::format::tensorflow
