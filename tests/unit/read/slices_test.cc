#include "lib/read/slices.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "tests/unit/naive.h"
#include "tests/unit/scratch.h"

namespace cairn::internal {
namespace {

using test::refusal;

void copy_box(std::span<const std::byte> array, std::span<const std::int64_t> shape, const Box& box,
              std::vector<std::byte>& out) {
  REQUIRE_OK(for_each_run(*box_of(Slice{}, shape), box, box, 4, [&](const Run& run) {
    std::ranges::copy(array.subspan(run.from_bytes, run.size_bytes),
                      out.begin() + static_cast<std::ptrdiff_t>(run.to_bytes));
    return Result<void>();
  }));
}

TEST_CASE("runs copy the same elements as a walk over each of them, for random shapes and slices") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 3000; ++i) {
    const auto shape = test::random_shape(random);
    const auto slice = test::random_slice(random, shape);
    const auto box = box_of(slice, shape);
    REQUIRE_OK(box);
    const auto array = test::random_bytes(test::count_of(shape) * 4, random());
    std::vector<std::byte> out(element_count(*box) * 4);
    if (out.empty()) continue;  // no element: no run to ask for
    copy_box(array, shape, *box, out);
    REQUIRE(out == test::naive_slice(array, shape, 4, slice));
  }
}

TEST_CASE("rows that lie together become one run, as do whole inner dimensions") {
  struct Row {
    std::vector<std::int64_t> shape;
    std::vector<Range> slice;
    std::size_t run_count;
  };
  for (const Row& row : std::vector<Row>{
           {{}, {}, 1},
           {{8}, {{2, 3}}, 1},
           {{8, 4}, {{2, 3}, {0, 4}}, 1},
           {{8, 4}, {{2, 3}, {1, 2}}, 3},
           {{3, 8, 4}, {{1, 2}, {0, 8}, {0, -1}}, 1},
           {{3, 8, 4}, {{0, -1}, {0, 8}, {0, 3}}, 24},
           {{3, 8, 4}, {{0, 3}, {2, 2}, {0, 4}}, 3},
       }) {
    const auto box = box_of(row.slice, row.shape);
    REQUIRE_OK(box);
    std::size_t count = 0;
    REQUIRE_OK(for_each_run(*box_of(Slice{}, row.shape), *box, *box, 4, [&](const Run&) {
      ++count;
      return Result<void>();
    }));
    CHECK(count == row.run_count);
  }
}

TEST_CASE("a slice outside the shape is refused, with the dimension and its numbers") {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  const std::vector<std::int64_t> shape{4, 6};
  for (const Range range : {Range{-1, 1}, Range{7, 0}, Range{0, 7}, Range{3, 4}, Range{0, -2},
                            Range{kMax, 1}, Range{1, kMax}, Range{kMin, -1}, Range{6, kMin}}) {
    const std::vector<Range> slice{{0, 4}, range};
    CHECK(refusal(box_of(slice, shape),
                  {"dimension 1 has 6 elements", std::to_string(range.start)}) == Code::Invalid);
  }
  const std::vector<Range> three(3);
  CHECK(refusal(box_of(three, shape), {"3 ranges", "2 dimensions"}) == Code::Invalid);
  const std::vector<Range> one(1);
  CHECK(refusal(box_of(one, std::vector<std::int64_t>{}), {"1 ranges", "0 dimensions"}) ==
        Code::Invalid);
}

TEST_CASE("a slice may start at the end of a dimension, and holds nothing there") {
  const std::vector<Range> slice{{4, -1}};
  const auto box = box_of(slice, std::vector<std::int64_t>{4});
  REQUIRE_OK(box);
  CHECK(element_count(*box) == 0);
}

TEST_CASE("boxes that only touch share nothing") {
  CHECK_FALSE(intersection({{0, 2}}, {{2, 3}}));
  CHECK_FALSE(intersection({{0, 2}, {0, 4}}, {{1, 2}, {4, 1}}));
  const auto shared = intersection({{0, 3}, {0, 4}}, {{1, 5}, {2, 9}});
  REQUIRE(shared);
  CHECK((*shared)[0].start == 1);
  CHECK((*shared)[0].count == 2);
  CHECK((*shared)[1].start == 2);
  CHECK((*shared)[1].count == 2);
}

TEST_CASE("boxes overlap where a walk over each element finds one in two of them") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  int found = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::int64_t> shape(1 + random() % 3);
    for (std::int64_t& size : shape) size = 1 + static_cast<std::int64_t>(random() % 12);
    std::vector<Box> boxes(random() % 5);
    std::vector<int> owners(test::count_of(shape));
    for (Box& box : boxes) {
      for (const std::int64_t size : shape) {
        const auto start = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(size));
        const auto left = static_cast<std::uint64_t>(size - start);
        box.push_back({start, 1 + static_cast<std::int64_t>(random() % left)});
      }
      for (std::size_t at = 0; at < owners.size(); ++at)
        owners[at] += test::lies_in(at, shape, box);
    }
    const auto found_pair = overlapping(boxes);
    REQUIRE_OK(found_pair);
    const Overlap pair = *found_pair;
    REQUIRE(pair.has_value() == std::ranges::any_of(owners, [](int count) { return count > 1; }));
    if (!pair) continue;
    ++found;
    REQUIRE(pair->first < pair->second);
    REQUIRE(intersection(boxes[pair->first], boxes[pair->second]));
  }
  CHECK(found > 100);
}

TEST_CASE("slices that would take too long to compare are refused") {
  // Half of them cut one dimension, half the other; whichever is swept, the other half stays open.
  std::vector<Box> boxes;
  for (std::int64_t i = 0; i < 10'000; ++i) {
    boxes.push_back({{i, 1}, {0, 10'000}});
    boxes.push_back({{0, 10'000}, {10'000 + i, 1}});
  }
  CHECK(refusal(overlapping(boxes), {"20000 slices"}) == Code::Unsupported);
  CHECK_FALSE(overlapping(std::span(boxes).first(2000))->has_value());
}

TEST_CASE("a box is one run of the whole where its elements follow each other in a walk") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 3000; ++i) {
    const auto shape = test::random_shape(random);
    const auto box = box_of(test::random_slice(random, shape), shape);
    REQUIRE_OK(box);
    std::vector<std::size_t> positions;
    for (std::size_t at = 0; at < test::count_of(shape); ++at) {
      if (test::lies_in(at, shape, *box)) positions.push_back(at);
    }
    if (positions.empty()) continue;
    const bool together = positions.back() - positions.front() + 1 == positions.size();
    const auto start = start_of_run(*box, shape);
    REQUIRE(start.has_value() == together);
    if (start) REQUIRE(*start == positions.front());
  }
}

}  // namespace
}  // namespace cairn::internal
