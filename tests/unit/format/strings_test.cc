#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "format/digest.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/string_heads.h"
#include "format/tensorflow/varint.h"
#include "tests/unit/golden.h"

namespace cairn::format::tensorflow {
namespace {

using test::from_hex;

struct Stored {
  std::string bytes;
  std::uint32_t crc32c = 0;
};

Stored encode(const std::vector<std::string_view>& values) {
  const StringHead head = encode_string_head(values);
  Stored stored{head.bytes, head.crc32c};
  for (const std::string_view value : values) {
    stored.bytes += value;
    stored.crc32c = crc32c(as_bytes(value), stored.crc32c);
  }
  return stored;
}

// As a machine of the other byte order stores the same strings: the lengths' sum differs.
std::string encode_big_endian(const std::vector<std::string_view>& values) {
  std::string lengths;
  std::string fed;
  for (const std::string_view value : values) {
    append_varint(lengths, value.size());
    append_le(fed, __builtin_bswap32(static_cast<std::uint32_t>(value.size())));
  }
  append_le(lengths, __builtin_bswap32(crc32c_mask(crc32c(as_bytes(fed)))));
  for (const std::string_view value : values) lengths += value;
  return lengths;
}

std::string encode_variant(std::string_view payload, std::uint32_t& crc) {
  std::string fed;
  append_le(fed, std::uint64_t{payload.size()});
  crc = crc32c(as_bytes(fed.append(payload)), crc);
  std::string bytes;
  append_varint(bytes, payload.size());
  bytes += payload;
  std::string sum;
  append_le(sum, crc32c_mask(crc));
  crc = crc32c(as_bytes(sum), crc);
  return bytes + sum;
}

TEST_CASE("strings are stored and summed as TensorFlow does") {
  const Stored stored = encode({"ab", "", "xyz"});
  CHECK(stored.bytes == from_hex("0200031b428bca616278797a"));
  CHECK(crc32c_mask(stored.crc32c) == 0x3fc4ad10);
  const Stored none = encode({});
  CHECK(none.bytes == from_hex("d8ea82a2"));
}

TEST_CASE("every string tensor that TensorFlow wrote has the sum of its entry") {
  const std::string index = test::read_file(test::golden("tensorflow/strings/all.index"));
  const std::string data =
      test::read_file(test::golden("tensorflow/strings/all.data-00000-of-00001"));
  const auto bundle = decode_bundle(as_bytes(index));
  REQUIRE(bundle.has_value());
  int found = 0;
  for (const TensorFacts& tensor : bundle->tensors) {
    if (tensor.dtype != DType::String) continue;
    ++found;
    CAPTURE(tensor.name);
    std::uint64_t count = 1;
    for (const std::int64_t dimension : tensor.shape)
      count *= static_cast<std::uint64_t>(dimension);
    const auto bytes = as_bytes(data).subspan(tensor.span.offset_bytes, tensor.span.size_bytes);
    const auto layout = decode_strings(bytes, count, false);
    REQUIRE(layout.has_value());
    CHECK(layout->crc32c == tensor.span.crc32c);
    CHECK(layout->lengths.size() == count);

    std::vector<std::string_view> values;
    std::string_view rest = as_text(bytes).substr(layout->payload_offset);
    for (const std::uint64_t length : layout->lengths) {
      values.push_back(rest.substr(0, length));
      rest.remove_prefix(length);
    }
    CHECK(encode(values).bytes == as_text(bytes));
    CHECK(encode(values).crc32c == tensor.span.crc32c);
  }
  CHECK(found == 5);
}

TEST_CASE("strings of a big-endian writer are read") {
  const std::vector<std::string_view> values = {"ab", "", "xyz"};
  const std::string stored = encode_big_endian(values);
  const auto layout = decode_strings(as_bytes(stored), 3, true);
  REQUIRE(layout.has_value());
  CHECK(layout->lengths == std::vector<std::uint64_t>{2, 0, 3});
  CHECK_FALSE(decode_strings(as_bytes(stored), 3, false).has_value());
}

TEST_CASE("no strings may have no bytes or a checksum of nothing") {
  const auto empty = decode_strings({}, 0, false);
  REQUIRE(empty.has_value());
  CHECK(empty->crc32c == 0);
  const Stored none = encode({});
  const auto four = decode_strings(as_bytes(none.bytes), 0, false);
  REQUIRE(four.has_value());
  CHECK(four->crc32c == none.crc32c);
  CHECK_FALSE(decode_strings({}, 1, false).has_value());
}

TEST_CASE("stored strings are refused cut, lengthened, or with a flipped bit in their head") {
  const Stored stored = encode({"ab", std::string_view("longer than one byte says"), "xyz"});
  for (std::size_t size = 0; size < stored.bytes.size(); ++size) {
    CHECK_FALSE(decode_strings(as_bytes(stored.bytes).first(size), 3, false).has_value());
  }
  CHECK_FALSE(decode_strings(as_bytes(stored.bytes + "x"), 3, false).has_value());
  CHECK_FALSE(decode_strings(as_bytes(stored.bytes), 2, false).has_value());
  CHECK_FALSE(decode_strings(as_bytes(stored.bytes), 4, false).has_value());
  CHECK_FALSE(decode_strings(as_bytes(stored.bytes), ~std::uint64_t{0}, false).has_value());
  for (std::size_t bit = 0; bit < stored.bytes.size() * 8; ++bit) {
    CAPTURE(bit);
    std::string flipped = stored.bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const auto layout = decode_strings(as_bytes(flipped), 3, false);
    if (bit / 8 < 7) CHECK_FALSE(layout.has_value());
    // A flip in the strings themselves shows in the sum that the entry holds.
    if (layout) CHECK(layout->crc32c != stored.crc32c);
  }
}

TEST_CASE("lengths that overflow are refused") {
  std::string bytes;
  append_varint(bytes, ~std::uint64_t{0});
  append_varint(bytes, 2);
  bytes += "12345";
  CHECK_FALSE(decode_strings(as_bytes(bytes), 2, false).has_value());
  const std::string endless(12, '\xff');
  CHECK_FALSE(decode_strings(as_bytes(endless), 1, false).has_value());
}

TEST_CASE("variants are walked and their sums checked one by one") {
  std::uint32_t crc = 0;
  std::string bytes = encode_variant("first", crc);
  const std::size_t first_size = bytes.size();
  bytes += encode_variant(std::string(300, 'v'), crc);
  CHECK(variant_crc32c(as_bytes(bytes), 2).value_or(0) == crc);
  CHECK(variant_crc32c({}, 0).value_or(1) == 0);

  CHECK_FALSE(variant_crc32c(as_bytes(bytes), 1).has_value());
  CHECK_FALSE(variant_crc32c(as_bytes(bytes), 3).has_value());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(variant_crc32c(as_bytes(bytes).first(size), 2).has_value());
  }
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    CHECK_FALSE(variant_crc32c(as_bytes(flipped), 2).has_value());
  }
  const auto damaged = variant_crc32c(as_bytes(bytes).subspan(first_size), 1);
  REQUIRE_FALSE(damaged.has_value());
  CHECK(damaged.error().what.find("variant 0 of 1 is damaged") == 0);
}

// What decode_string_lengths says of one place by itself.
StringStart alone(std::string_view file, const StringPlace& place, bool big_endian) {
  const auto stored = as_bytes(file).subspan(place.offset_bytes, place.size_bytes);
  const auto layout = decode_string_lengths(stored, place.count, big_endian, stored.size());
  if (!layout) return {};
  return {true, place.offset_bytes + layout->payload_offset, layout->crc32c};
}

std::vector<StringStart> together(std::string_view file, std::span<const StringPlace> places,
                                  bool big_endian, std::mt19937_64& random) {
  StringHeads heads(places, big_endian);
  while (const auto need = heads.need()) {
    const std::uint64_t left = file.size() - need->offset_bytes;
    REQUIRE(left > 0);
    const std::uint64_t size = std::min(1 + random() % (2 * need->size_bytes), left);
    heads.take(as_bytes(file).subspan(need->offset_bytes, size));
  }
  return {heads.starts().begin(), heads.starts().end()};
}

TEST_CASE("heads that lie over one another are read together as each by itself") {
  const std::uint64_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  std::size_t sound_count = 0;
  for (int round = 0; round < 300; ++round) {
    // Strings whose bytes are heads and lengths again, one behind the other.
    std::string file;
    std::vector<StringPlace> places;
    const bool big_endian = round % 3 == 0;
    for (int i = 0; i < 4; ++i) {
      std::vector<std::string> values(random() % 5);
      for (std::string& value : values)
        value = std::string(random() % (i == 3 ? 300 : 6), static_cast<char>(random() % 4));
      const std::vector<std::string_view> views(values.begin(), values.end());
      const std::string inner = big_endian ? encode_big_endian(views) : encode(views).bytes;
      places.push_back({file.size(), inner.size(), values.size()});
      file += inner;
      const std::vector<std::string_view> whole{file};
      const std::string outer = big_endian ? encode_big_endian(whole) : encode(whole).bytes;
      const std::uint64_t moved = outer.size() - file.size();
      for (StringPlace& place : places) place.offset_bytes += moved;
      places.push_back({0, outer.size(), 1});
      file = outer;
    }
    file += std::string(random() % 20, static_cast<char>(random()));
    for (int i = 0; i < 60; ++i) {
      const std::uint64_t offset = random() % file.size();
      const std::uint64_t size = random() % (file.size() - offset + 1);
      places.push_back({offset, size, random() % (i % 2 == 0 ? 4 : size + 2)});
    }
    std::ranges::sort(places, {}, &StringPlace::offset_bytes);
    const auto starts = together(file, places, big_endian, random);
    for (std::size_t i = 0; i < places.size(); ++i) {
      CAPTURE(places[i].offset_bytes);
      CAPTURE(places[i].size_bytes);
      CAPTURE(places[i].count);
      if (places[i].count == 0 && places[i].size_bytes == 0) continue;
      const StringStart wanted = alone(file, places[i], big_endian);
      REQUIRE(starts[i].sound == wanted.sound);
      if (!wanted.sound) continue;
      ++sound_count;
      CHECK(starts[i].payload_offset == wanted.payload_offset);
      CHECK(starts[i].crc32c == wanted.crc32c);
    }
  }
  CHECK(sound_count > 300 * 6);  // about eight a round
}

TEST_CASE("lengths beyond 64 bits, and sums of them, end a head") {
  std::mt19937_64 random(1);
  // Two lengths of 2^63 and one of 5: modulo 2^64 they are what is left.
  std::string file;
  for (const std::uint64_t length :
       {std::uint64_t{1} << 63, std::uint64_t{1} << 63, std::uint64_t{5}})
    append_varint(file, length);
  file += std::string(4, '\0') + "12345";
  file += std::string(12, '\xff') + std::string(8, '\x01');
  const std::vector<StringPlace> places{{0, file.size() - 20, 3}, {file.size() - 20, 18, 1}};
  for (const StringStart& start : together(file, places, false, random)) CHECK_FALSE(start.sound);
  for (const StringPlace& place : places) CHECK_FALSE(alone(file, place, false).sound);
}

}  // namespace
}  // namespace cairn::format::tensorflow
