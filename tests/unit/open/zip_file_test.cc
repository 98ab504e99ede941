// Where the members of an archive begin.

#include "lib/open/zip_file.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "format/le.h"
#include "tests/unit/open/zip_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn::internal {
namespace {

using test::refusal;
using test::ZipMember;

os::File file_of(const std::string& bytes) {
  auto file = os::memory_file("m.zip");
  REQUIRE_MESSAGE(file, refusal(file));
  const auto written = file->write_at(0, format::as_bytes(bytes));
  REQUIRE_MESSAGE(written, refusal(written));
  return *std::move(file);
}

TEST_CASE("heads of members are found in every order, however far apart they lie") {
  const auto seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto up_to = [&](std::uint32_t most) { return random() % (most + 1); };
  for (int round = 0; round < 20; ++round) {
    std::vector<ZipMember> sources;
    for (std::uint32_t i = 0; i < 60; ++i) {
      const std::size_t size = up_to(3) == 0 ? up_to(60'000) : up_to(3'000);
      std::string data(size, static_cast<char>('a' + up_to(20)));
      const std::size_t padding = up_to(4) == 0 ? 4 + up_to(50'000) : 0;
      sources.push_back({.name = std::string(up_to(80), 'n') + std::to_string(i),
                         .data = std::move(data),
                         .padding_bytes = padding});
    }
    const std::string bytes = test::zip_of(sources);
    const os::File file = file_of(bytes);
    const auto members = read_zip_members(file, {0, bytes.size()});
    REQUIRE_MESSAGE(members, refusal(members));
    std::vector<std::size_t> order(members->size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (round % 3 == 1) std::ranges::reverse(order);
    if (round % 3 == 2) std::ranges::shuffle(order, random);
    constexpr std::size_t kWanted = 100;
    ZipHeads heads(file, *members, kWanted);
    for (const std::size_t i : order) {
      const format::zip::Member& member = (*members)[i];
      const auto head = heads.read(member);
      REQUIRE_MESSAGE(head, refusal(head));
      CHECK(bytes.substr(head->data_offset_bytes, member.size_bytes) == sources[i].data);
      const std::string_view begin = format::as_text(head->data(member));
      CHECK(sources[i].data.starts_with(begin));
      if (sources[i].padding_bytes == 0)
        CHECK(begin.size() >= std::min(kWanted, sources[i].data.size()));
      const auto alone = zip_data_offset(file, member);
      REQUIRE_MESSAGE(alone, refusal(alone));
      CHECK(*alone == head->data_offset_bytes);
    }
  }
}

TEST_CASE("the members of archives that stand one after another are all compared") {
  const auto archive = [](const std::string& data) {
    return test::zip_of({{.name = "a", .data = data}, {.name = "b", .data = data + data}});
  };
  const std::string whole = archive("11") + archive("2222") + archive("3");
  const auto compared = [](const std::string& bytes) {
    auto ranges = compare_stored_members(file_of(bytes), {});
    REQUIRE_MESSAGE(ranges, refusal(ranges));
    return *std::move(ranges);
  };
  const auto damaged_count = [](const std::vector<SummedRange>& ranges) {
    return std::ranges::count(ranges, true, &SummedRange::damaged);
  };
  CHECK(compared(whole).size() == 6);
  CHECK(damaged_count(compared(whole)) == 0);
  std::string flipped = whole;
  flipped[flipped.find("2222")] ^= 1;
  CHECK(damaged_count(compared(flipped)) == 1);
  CHECK(check_stored_members(file_of(whole), {}));
  CHECK_FALSE(check_stored_members(file_of(flipped), {}));
  // What stands in front of an archive and is none is nobody's.
  CHECK(compared("PK\x03\x04 in front" + archive("3")).size() == 2);
  CHECK(compared(archive("11") + " between " + archive("3")).size() == 2);
}

TEST_CASE("a file that became shorter is damage, not a wait") {
  const std::string bytes = test::zip_of({{.name = "a", .data = "1"}, {.name = "b", .data = "2"}});
  const os::File file = file_of(bytes);
  const auto members = read_zip_members(file, {0, bytes.size()});
  REQUIRE_MESSAGE(members, refusal(members));
  const std::uint64_t second = members->back().header_offset_bytes;
  const os::File cut = file_of(bytes.substr(0, second + 10));
  ZipHeads heads(cut, *members, 64);
  CHECK(heads.read(members->front()));
  const auto refused = heads.read(members->back());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::Corrupt);
}

}  // namespace
}  // namespace cairn::internal
