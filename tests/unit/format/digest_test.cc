#include "format/digest.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "format/le.h"

namespace cairn::format {
namespace {

std::vector<std::byte> random_bytes(std::size_t size, std::mt19937_64& random) {
  std::vector<std::byte> bytes(size);
  std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
  return bytes;
}

std::string hex(const Digest128& digest) {
  std::string text;
  for (std::size_t at = 0; at < 16; at += 4) {
    const auto word = load_le<std::uint32_t>(digest.bytes.data() + at);
    text += crc32c_hex(__builtin_bswap32(word));
  }
  return text;
}

TEST_CASE("CRC32C is Castagnoli's, as RFC 3720 gives it") {
  CHECK(crc32c(as_bytes("123456789")) == 0xe3069283);
  CHECK(crc32c({}) == 0);
  CHECK(crc32c(std::vector<std::byte>(32)) == 0x8a9136aa);
  CHECK(crc32c(std::vector<std::byte>(32, std::byte{0xff})) == 0x62a8ab43);
}

TEST_CASE("a CRC32C goes on where it stopped") {
  CHECK(crc32c(as_bytes("6789"), crc32c(as_bytes("12345"))) == 0xe3069283);
  CHECK(crc32c({}, 0xe3069283) == 0xe3069283);
}

TEST_CASE("combined CRC32Cs equal the CRC32C of the whole, at every split") {
  const std::uint64_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const auto bytes = random_bytes(random() % 70'000, random);
    const std::span<const std::byte> whole = bytes;
    const std::size_t split = bytes.empty() ? 0 : random() % (bytes.size() + 1);
    const std::uint32_t a = crc32c(whole.first(split));
    const std::uint32_t b = crc32c(whole.subspan(split));
    CHECK(crc32c_combine(a, b, bytes.size() - split) == crc32c(whole));
  }
}

TEST_CASE("CRC32Cs combine over lengths that no memory holds") {
  // Three pieces can be combined from either side.
  const std::uint64_t tebibyte = std::uint64_t{1} << 40;
  const std::uint32_t left = crc32c_combine(crc32c_combine(1, 2, tebibyte), 3, tebibyte + 5);
  const std::uint32_t right =
      crc32c_combine(1, crc32c_combine(2, 3, tebibyte + 5), 2 * tebibyte + 5);
  CHECK(left == right);
}

TEST_CASE("masking is undone by unmasking") {
  CHECK(crc32c_mask(0) == 0xa282ead8);
  for (const std::uint32_t crc : {0u, 1u, 0xe3069283u, 0xffffffffu}) {
    CHECK(crc32c_unmask(crc32c_mask(crc)) == crc);
    CHECK(crc32c_mask(crc) != crc);
  }
}

TEST_CASE("a CRC32C is written as eight hex digits") {
  CHECK(crc32c_hex(0) == "00000000");
  CHECK(crc32c_hex(0xe3069283) == "e3069283");
  CHECK(crc32c_hex(0xab) == "000000ab");
}

TEST_CASE("XXH3-128 is xxHash's, in canonical order") {
  CHECK(hex(xxh3_128({})) == "99aa06d3014798d86001c324468d497f");
  CHECK(hex(xxh3_128(as_bytes("123456789"))) == "33119477ede5dcd5e9716427681d5860");
}

TEST_CASE("XXH3-128 in pieces equals XXH3-128 of the whole") {
  const std::uint64_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (const std::size_t size : {0u, 1u, 17u, 240u, 241u, 1024u, 1'000'000u}) {
    const auto bytes = random_bytes(size, random);
    Xxh3Stream stream;
    for (std::span<const std::byte> rest = bytes; !rest.empty();) {
      const std::size_t piece = 1 + random() % std::min<std::size_t>(rest.size(), 5'000);
      stream.update(rest.first(piece));
      rest = rest.subspan(piece);
      stream.update({});
    }
    CHECK(stream.digest() == xxh3_128(bytes));
    const Xxh3Stream moved = std::move(stream);
    CHECK(moved.digest() == xxh3_128(bytes));
  }
}

}  // namespace
}  // namespace cairn::format
