#include "lib/store/slices.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "tests/unit/scratch.h"

namespace cairn::store {
namespace {

using test::refusal;

// The elements of a box of a row-major array, one by one: what for_each_run must agree with.
std::vector<std::int32_t> naive(const std::vector<std::int32_t>& array,
                                std::span<const std::int64_t> shape, const Box& box) {
  std::vector<std::int32_t> out;
  std::vector<std::int64_t> at(shape.size());
  for (std::size_t i = 0; i < array.size(); ++i) {
    std::size_t left = i;
    for (std::size_t d = shape.size(); d > 0; --d) {
      at[d - 1] = static_cast<std::int64_t>(left) % shape[d - 1];
      left /= static_cast<std::size_t>(shape[d - 1]);
    }
    bool inside = true;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      inside &= at[d] >= box[d].start && at[d] < box[d].start + box[d].count;
    }
    if (inside) out.push_back(array[i]);
  }
  return out;
}

std::vector<std::int64_t> random_shape(std::mt19937_64& random) {
  std::vector<std::int64_t> shape(random() % 5);
  for (std::int64_t& dimension : shape) dimension = static_cast<std::int64_t>(random() % 5);
  return shape;
}

std::vector<Range> random_slice(std::mt19937_64& random, std::span<const std::int64_t> shape) {
  std::vector<Range> slice;
  for (const std::int64_t dimension : shape) {
    const auto start =
        static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(dimension + 1));
    const auto left = static_cast<std::uint64_t>(dimension - start);
    const bool open = random() % 4 == 0;
    slice.push_back({start, open ? -1 : static_cast<std::int64_t>(random() % (left + 1))});
  }
  return slice;
}

std::vector<std::int32_t> counted(std::span<const std::int64_t> shape) {
  std::vector<std::int32_t> array(test::count_of(shape));
  for (std::size_t i = 0; i < array.size(); ++i) array[i] = static_cast<std::int32_t>(i) + 1;
  return array;
}

void copy_box(const std::vector<std::int32_t>& array, std::span<const std::int64_t> shape,
              const Box& box, std::vector<std::int32_t>& out) {
  const auto from = std::as_bytes(std::span(array));
  const auto to = std::as_writable_bytes(std::span(out));
  REQUIRE_OK(for_each_run(*box_of(Slice{}, shape), box, box, 4, [&](const Run& run) {
    const auto bytes = from.subspan(run.from_bytes, run.size_bytes);
    std::ranges::copy(bytes, to.subspan(run.to_bytes).begin());
    return Result<void>();
  }));
}

TEST_CASE("runs copy the same elements as a walk over each of them, for random shapes and slices") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 3000; ++i) {
    const auto shape = random_shape(random);
    const auto slice = random_slice(random, shape);
    const auto box = box_of(slice, shape);
    REQUIRE_OK(box);
    const auto array = counted(shape);
    std::vector<std::int32_t> out(element_count(*box));
    if (out.empty()) continue;  // no element: no run to ask for
    copy_box(array, shape, *box, out);
    REQUIRE(out == naive(array, shape, *box));
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

}  // namespace
}  // namespace cairn::store
