#include "lib/read/name_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "format/digest.h"

namespace cairn::internal {
namespace {

format::BuiltIndex index_of(std::vector<std::string> names) {
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  format::IndexFacts facts;
  facts.shards.push_back({.name = "s", .identity = {.size_bytes = 1}, .live_bytes = 1});
  format::PlainTensors tensors;
  for (const std::string& name : names)
    tensors.add(name, DType::Uint8, std::vector<std::int64_t>{1}, {0, 0, 1, std::nullopt});
  auto built = format::build_index(facts, std::move(tensors));
  REQUIRE_MESSAGE(built.has_value(), built.error().what);
  return *std::move(built);
}

std::vector<std::string> numbered(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i)
    names.push_back("model/layers/" + std::to_string(i * 7919 % 100'003) + "/weight");
  return names;
}

// Long enough that every look-up after it has the table.
void look_up_everything(const NameTable& table, const format::IndexView& index) {
  for (std::size_t i = 0; i < index.tensor_count(); ++i)
    REQUIRE(table.find(index.tensor_name(i)) == i);
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const std::string name(index.tensor_name(i));
    REQUIRE(table.find(name) == i);
    REQUIRE(table.find(name + "x") == index.find(name + "x"));
    if (!name.empty()) REQUIRE(table.find(name.substr(1)) == index.find(name.substr(1)));
  }
}

TEST_CASE("each name is found at its position, and no other one, before and after the table") {
  for (const int number : {0, 1, 2, 15, 16, 17, 1000, 5000}) {
    const auto count = static_cast<std::size_t>(number);
    CAPTURE(count);
    const auto built = index_of(numbered(count));
    const NameTable table(built.view);
    CHECK_FALSE(table.find("").has_value());
    look_up_everything(table, built.view);
  }
  const auto odd = index_of({"", std::string(1, '\0'), "\xff", "a", std::string("a\0b", 3)});
  const NameTable table(odd.view);
  look_up_everything(table, odd.view);
}

TEST_CASE("names that were chosen for their hashes are found as all others are") {
  // 4,096 slots for 2,000 names; these 600 want eight of them.
  std::vector<std::string> names = numbered(1400);
  for (std::size_t i = 0; names.size() < 2000; ++i) {
    std::string name = "chosen" + std::to_string(i);
    if ((format::xxh3_64(name) & 4095) < 8) names.push_back(std::move(name));
  }
  const auto built = index_of(std::move(names));
  REQUIRE(built.view.tensor_count() == 2000);
  const NameTable table(built.view);
  look_up_everything(table, built.view);
}

TEST_CASE("threads that look up at once agree, whichever of them makes the table") {
  const auto built = index_of(numbered(3000));
  for (int round = 0; round < 20; ++round) {
    const NameTable table(built.view);
    std::atomic<int> wrong = 0;
    std::vector<std::jthread> threads;
    for (std::size_t start = 0; start < 4; ++start) {
      threads.emplace_back([&, start] {
        for (std::size_t i = start; i < 3000; i += 4)
          wrong += table.find(built.view.tensor_name(i)) != i ? 1 : 0;
      });
    }
    threads.clear();
    CHECK(wrong == 0);
  }
}

}  // namespace
}  // namespace cairn::internal
