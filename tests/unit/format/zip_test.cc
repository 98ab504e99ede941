// Zip archives: what writers make is read, and what contradicts itself is refused.

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "format/limits.h"
#include "format/zip/archive.h"
#include "format/zip/inflate.h"
#include "tests/unit/open/zip_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn::format::zip {
namespace {

using test::deflate_raw;
using test::has;
using test::zip_of;
using test::ZipMember;
using test::ZipOptions;

struct Found {
  Member member;
  std::uint64_t data_offset_bytes;
};

Decoded<std::vector<Found>> read(std::string_view file) {
  const auto bytes = as_bytes(file);
  const auto place = find_directory(bytes.last(std::min(bytes.size(), kTailBytes)), bytes.size());
  if (!place) return place.error();
  const auto members =
      decode_directory(bytes.subspan(place->offset_bytes, place->size_bytes), *place);
  if (!members) return members.error();
  std::vector<Found> found;
  for (const Member& member : *members) {
    const auto offset = data_offset_bytes(bytes.subspan(member.header_offset_bytes), member);
    if (!offset) return offset.error();
    found.push_back({member, *offset});
  }
  return found;
}

// Decodes in small pieces.
Decoded<std::string> inflated(std::string_view packed, std::size_t in_bytes,
                              std::size_t out_bytes) {
  Inflater inflater;
  std::string all;
  std::string piece(out_bytes, '\0');
  for (std::size_t at = 0;;) {
    const auto step = inflater.run(as_bytes(packed.substr(at, in_bytes)),
                                   std::as_writable_bytes(std::span(piece)));
    if (!step) return step.error();
    all.append(piece, 0, step->made_bytes);
    at += step->taken_bytes;
    if (step->ended) return all;
    if (step->taken_bytes == 0 && step->made_bytes == 0) return corrupt(at, "cut off");
  }
}

TEST_CASE("archives of every form that writers use are read") {
  const std::string long_comment(65'535, 'c');
  const ZipOptions forms[] = {{},
                              {.prefix = "a program in front"},
                              {.prefix = "a program in front", .prefix_counted = true},
                              {.comment = "PK\x05\x06 in a comment, and more than 22 bytes of it"},
                              {.prefix = "x", .comment = long_comment, .zip64 = true},
                              {.zip64 = true}};
  for (const ZipOptions& form : forms) {
    INFO(form.prefix, form.prefix_counted, form.zip64, form.comment.substr(0, 10));
    const std::string zeros(10'000, '\0');
    const std::string file = zip_of({{.name = "stored", .data = "abc"},
                                     {.name = "a/b.npy", .data = zeros, .deflated = true},
                                     {.name = "numpy's", .data = "12345", .zip64 = true},
                                     {.name = "piped", .data = "now", .streamed = true},
                                     {.name = "directory/", .data = ""}},
                                    form);
    const auto found = read(file);
    REQUIRE_MESSAGE(found, found.error().what);
    REQUIRE(found->size() == 5);
    const std::string expected[] = {"abc", deflate_raw(zeros), "12345", "now", ""};
    for (std::size_t i = 0; i < 5; ++i) {
      const auto& [member, offset] = (*found)[i];
      CHECK(file.substr(offset, member.packed_bytes) == expected[i]);
      CHECK(member.method == (i == 1 ? kDeflated : kStored));
    }
    CHECK((*found)[1].member.size_bytes == zeros.size());
    CHECK((*found)[1].member.crc32 == crc32(as_bytes(zeros)));
    CHECK((*found)[4].member.name == "directory/");
  }
  CHECK(read(zip_of({}))->empty());
  CHECK(crc32(as_bytes("123456789")) == 0xcbf43926);  // the check value of CRC-32
}

TEST_CASE("archives that contradict themselves are refused") {
  const ZipMember plain{.name = "one", .data = "1234"};
  const auto with = [&](auto change) {
    ZipMember member = plain;
    change(member);
    return zip_of({member, {.name = "two", .data = "5678"}});
  };
  const auto patched = [&](std::size_t from_end, char byte, ZipOptions options = {}) {
    std::string file = zip_of({plain}, std::move(options));
    file[file.size() - from_end] = byte;
    return file;
  };
  struct Row {
    std::string file;
    Code code;
    const char* said;
  };
  const Row rows[] = {
      {"", Code::Corrupt, "no zip directory ends the file"},
      {zip_of({plain}) + "x", Code::Corrupt, "no zip directory ends the file"},
      {zip_of({plain, plain}), Code::Corrupt, "two members have the name \"one\""},
      {with([](auto& m) { m.name = ""; }), Code::Corrupt, "has the name \"\""},
      {with([](auto& m) { m.name = std::string("a\0b", 3); }), Code::Corrupt, "has the name"},
      {with([](auto& m) { m.local_name = "two"; }), Code::Corrupt, "another name"},
      {with([](auto& m) { m.local_name = "once"; }), Code::Corrupt, "another name"},
      {with([](auto& m) { m.size_bytes = 5; }), Code::Corrupt, "is stored, but has 4 bytes for 5"},
      {with([](auto& m) { m.size_bytes = m.packed_bytes = 999; }), Code::Corrupt, "overlap"},
      {with([](auto& m) { m.size_bytes = m.packed_bytes = 5; }), Code::Corrupt, "overlap"},
      {with([](auto& m) {
         m.zip64 = true;
         m.size_bytes = m.packed_bytes = ~std::uint64_t{0};
       }),
       Code::Corrupt, "overlap"},
      {with([](auto& m) { m.header_offset_bytes = 37; }), Code::Corrupt, "overlap"},
      {"x" + zip_of({plain}).substr(1), Code::Corrupt, "does not begin here"},
      {with([](auto& m) { m.header_offset_bytes = 0xfffffff0; }), Code::Corrupt, "behind"},
      {with([](auto& m) { m.header_offset_bytes = 0xffffffff; }), Code::Corrupt, "extra fields"},
      {with([](auto& m) { m.deflated = true, m.size_bytes = 9'999; }), Code::Corrupt,
       "which cannot become 9999"},
      {patched(22, 'x'), Code::Corrupt, "no zip directory ends the file"},
      {patched(18, 1), Code::Unsupported, "one of several files"},
      {patched(14, 9), Code::Unsupported, "one of several files"},
      {patched(9, 1), Code::Corrupt, "not in front of the record"},
      {patched(5, 1), Code::Corrupt, "not in front of the record"},
      {patched(10, 3, {.zip64 = true}), Code::Corrupt,
       "the two end records of the zip archive differ"},
      {patched(98, 'x', {.zip64 = true}), Code::Corrupt, "not in front of its locator"},
  };
  for (const Row& row : rows) {
    INFO(row.said);
    const auto found = read(row.file);
    REQUIRE_FALSE(found);
    CHECK(found.error().code == row.code);
    CHECK_MESSAGE(has(found.error().what, row.said), found.error().what);
  }
}

TEST_CASE("a directory may have so many members and bytes, and no more") {
  const auto end64 = [](std::uint64_t count, std::uint64_t directory_bytes) {
    const std::uint64_t at = 1'000;
    std::string text;
    const auto put = [&](auto... numbers) { (append_le(text, numbers), ...); };
    put(std::uint32_t{0x06064b50}, std::uint64_t{44}, std::uint32_t{0}, std::uint64_t{0}, count,
        count, directory_bytes, at);
    put(std::uint32_t{0x07064b50}, std::uint32_t{0}, at + directory_bytes, std::uint32_t{1});
    put(std::uint32_t{0x06054b50}, std::uint32_t{0}, ~std::uint32_t{0}, ~std::uint64_t{0},
        std::uint16_t{0});
    return find_directory(as_bytes(text), at + directory_bytes + text.size());
  };
  const auto most = end64(limits::kZipMembersMax, limits::kZipDirectoryBytesMax);
  REQUIRE_MESSAGE(most, most.error().what);
  CHECK(most->member_count == limits::kZipMembersMax);
  CHECK(most->offset_bytes == 1'000);
  CHECK(end64(limits::kZipMembersMax + 1, limits::kZipDirectoryBytesMax).error().code ==
        Code::Unsupported);
  CHECK(end64(1, limits::kZipDirectoryBytesMax + 1).error().code == Code::Unsupported);
  CHECK(has(end64(3, 2 * 46).error().what, "3 members do not fit"));
}

TEST_CASE(
    "every cut of an archive is refused, and no flip moves a member outside or onto another") {
  const std::string whole = zip_of({{.name = "a", .data = "12"},
                                    {.name = "b", .data = std::string(99, 'b'), .deflated = true},
                                    {.name = "c", .data = "345", .zip64 = true}},
                                   {.zip64 = true});
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK_FALSE(read(whole.substr(0, size)));
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string file = whole;
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
    auto found = read(file);
    if (!found) continue;
    std::ranges::sort(*found, {}, &Found::data_offset_bytes);
    std::uint64_t end = 0;
    for (const auto& [member, offset] : *found) {
      CHECK(member.header_offset_bytes >= end);
      end = offset + member.packed_bytes;
    }
    CHECK(end <= file.size());
  }
}

TEST_CASE("deflated bytes are decoded in pieces of any size, and what is none is refused") {
  std::mt19937 random(7);
  std::string data;
  for (int i = 0; i < 3'000; ++i) data += static_cast<char>(random() % 4);
  data += std::string(70'000, 'z');
  const std::string packed = deflate_raw(data);
  for (const auto& [in, out] : {std::pair(1, 1), {1, 999'999}, {999'999, 7}, {64, 258}}) {
    const auto decoded =
        inflated(packed, static_cast<std::size_t>(in), static_cast<std::size_t>(out));
    REQUIRE_MESSAGE(decoded, decoded.error().what);
    CHECK(*decoded == data);
  }
  CHECK(has(inflated(packed.substr(0, packed.size() - 1), 100, 100).error().what, "cut off"));
  CHECK(has(inflated("\x07", 1, 1).error().what, "cannot be decoded: invalid block type"));
}

}  // namespace
}  // namespace cairn::format::zip
