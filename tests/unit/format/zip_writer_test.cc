// Archives that are written are read back, also those that no test could hold in memory.

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "format/le.h"
#include "format/numpy/array.h"
#include "format/zip/archive.h"
#include "format/zip/inflate.h"
#include "format/zip/writer.h"

namespace cairn::format::zip {
namespace {

constexpr std::uint64_t kAlignment = 64;

// What a reader finds in an archive of these members, of which only the end is there.
std::vector<Member> members_of(std::span<const StoredMember> written, std::uint64_t directory_at) {
  const std::string end = encode_directory(written, directory_at);
  const auto bytes = as_bytes(end);
  const auto place =
      find_directory(bytes.last(std::min(bytes.size(), kTailBytes)), directory_at + end.size());
  REQUIRE(place);
  CHECK(place->offset_bytes == directory_at);
  CHECK(place->prefix_bytes == 0);
  const auto members = decode_directory(bytes.first(place->size_bytes), *place);
  REQUIRE(members);
  return *members;
}

// Each member is found as it was written, behind its own local header, at an aligned place.
void check_found(std::vector<StoredMember> written) {
  const std::uint64_t directory_at = place_members(written, kAlignment);
  const auto found = members_of(written, directory_at);
  REQUIRE(found.size() == written.size());
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < written.size(); ++i) {
    const StoredMember& member = written[i];
    CHECK(found[i].name == member.name);
    CHECK(found[i].method == kStored);
    CHECK(found[i].crc32 == member.crc32);
    CHECK(found[i].size_bytes == member.size_bytes);
    CHECK(found[i].packed_bytes == member.size_bytes);
    CHECK(found[i].header_offset_bytes == member.header_offset_bytes);
    CHECK(member.header_offset_bytes == end);
    CHECK(member.data_offset_bytes % kAlignment == 0);
    end = member.data_offset_bytes + member.size_bytes;
    const std::string head = encode_local_header(member);
    CHECK(head.size() == member.data_offset_bytes - member.header_offset_bytes);
    CHECK(data_offset_bytes(as_bytes(head), found[i]).value_or(0) == member.data_offset_bytes);
  }
  CHECK(end == directory_at);
}

TEST_CASE("members of every size and name are found where they were placed") {
  std::vector<StoredMember> members;
  for (std::size_t i = 0; i < 200; ++i)
    members.push_back({std::string(1 + i, 'n') + ".npy", 37 * i, static_cast<std::uint32_t>(i)});
  members.push_back({"größe/中文.npy", 5, 0xffffffff});
  check_found(std::move(members));
  check_found({});
}

TEST_CASE("a member, an offset and a directory beyond 4 GiB have ZIP64 fields") {
  constexpr std::uint64_t kEdge = 0xffffffff;
  for (const std::uint64_t size : {kEdge - 1, kEdge, kEdge + 1, std::uint64_t{5} << 40})
    check_found({{"before.npy", 3, 1}, {"large.npy", size, 2}, {"behind.npy", 4, 3}});
}

TEST_CASE("more members than 16 bits can count have a ZIP64 end record") {
  for (const std::size_t count : {65'534u, 65'535u, 65'536u, 70'000u}) {
    std::vector<StoredMember> members;
    for (std::size_t i = 0; i < count; ++i) members.push_back({std::to_string(i) + ".npy", 1, 7});
    const std::uint64_t directory_at = place_members(members, kAlignment);
    CHECK(members_of(members, directory_at).size() == count);
  }
}

TEST_CASE("a name that leads out of a directory is no member's") {
  for (const std::string_view name : {"a", "a/b.npy", ".npy", "..npy", "a..b/c", "größe", "a\\b"})
    CHECK(can_be_member(name));
  const std::string long_name(65'536, 'n');
  for (const std::string_view name :
       {std::string_view(""), std::string_view("/a"), std::string_view(".."),
        std::string_view("../a"), std::string_view("a/../b"), std::string_view("a/.."),
        std::string_view("."), std::string_view("a/./b"), std::string_view("a//b"),
        std::string_view("a/"), std::string_view("a\0b", 3), std::string_view("\xff"),
        std::string_view(long_name)})
    CHECK_FALSE(can_be_member(name));
}

}  // namespace
}  // namespace cairn::format::zip

namespace cairn::format::numpy {
namespace {

TEST_CASE("an array's head is read back, and ends at a multiple of 64 bytes") {
  const std::vector<std::int64_t> shapes[] = {{},     {0},       {3},
                                              {2, 3}, {1, 0, 5}, std::vector<std::int64_t>(64, 1)};
  for (const auto& shape : shapes) {
    const std::string head = encode_head("<f4", shape);
    CHECK(head.size() % 64 == 0);
    std::uint64_t data_bytes = 4;
    for (const std::int64_t size : shape) data_bytes *= static_cast<std::uint64_t>(size);
    const auto read = decode_array(as_bytes(head), head.size() + data_bytes);
    REQUIRE(read);
    CHECK(read->dtype == DType::Float32);
    CHECK(read->shape == shape);
    CHECK(read->strides.empty());
  }
  CHECK(encode_head("|b1", std::vector<std::int64_t>{3}).find("'shape': (3,), }") !=
        std::string::npos);
}

TEST_CASE("a head of more than 64 KiB is of version 2.0") {
  const std::string head = encode_head("<f4", std::vector<std::int64_t>(30'000, 1));
  CHECK(head.substr(6, 2) == std::string("\2\0", 2));
  CHECK(head.size() % 64 == 0);
  CHECK(load_le<std::uint32_t>(as_bytes(head).data() + 8) == head.size() - 12);
}

TEST_CASE("each dtype is read back from its description, or is void of its width") {
  struct Row {
    ElementType type;
    std::string_view descr;
    bool told;
  };
  const Row rows[] = {{{DType::Float32}, "<f4", true},
                      {{DType::Float16}, "<f2", true},
                      {{DType::Float64}, "<f8", true},
                      {{DType::Int8}, "|i1", true},
                      {{DType::Uint64}, "<u8", true},
                      {{DType::Bool}, "|b1", true},
                      {{DType::Complex128}, "<c16", true},
                      {{DType::Bfloat16}, "|V2", true},
                      {{DType::Float8E5M2}, "|V1", false},
                      {{DType::Float8E4M3FN}, "|V1", false},
                      {{DType::Int4}, "|V1", false},
                      {{DType::Qint32}, "<i4", false},
                      {{DType::String}, "", false},
                      {{DType::Opaque, "S5", 40}, "|S5", true},
                      {{DType::Opaque, "U3", 96}, "<U3", true},
                      {{DType::Opaque, "M8[ns]", 64}, "<M8[ns]", true},
                      {{DType::Opaque, "V1", 8}, "|V1", true},
                      {{DType::Opaque, "V16", 40}, "", false},
                      {{DType::Opaque, "F8_E8M0", 8}, "", false},
                      {{DType::Opaque, "f3", 24}, "", false},
                      {{DType::Opaque, "<S5", 40}, "", false},
                      {{DType::Opaque, "M8['ns]", 64}, "", false}};
  for (const Row& row : rows) {
    INFO(static_cast<int>(row.type.dtype), row.type.opaque_name);
    const std::string descr = descr_of(row.type);
    CHECK(descr == row.descr);
    if (!descr.empty()) CHECK(is_told_by_descr(row.type, descr) == row.told);
  }
}

}  // namespace
}  // namespace cairn::format::numpy
