#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "format/tensorflow/bundle.h"
#include "tests/unit/golden.h"

namespace cairn::format::tensorflow {
namespace {

using test::from_hex;

struct Example {
  std::string name;
  std::vector<Extent> extents;
  std::string key_hex;
};

TEST_CASE("slice keys are TensorFlow's") {
  const Extent whole;
  const std::int64_t two_48 = std::int64_t{1} << 48;
  const std::int64_t two_55 = std::int64_t{1} << 55;
  const std::int64_t two_62 = std::int64_t{1} << 62;
  const Example examples[] = {
      {"v", {{0, 1}, whole}, "0076000101028081807f"},
      {"pv", {{0, 3}, {0, 2}}, "007076000101028083 8082"},
      {"w/x", {{100, 64}, {200, 100}}, "00772f7800010102c064c040c0c8c064"},
      {"w/x", {{64, 63}}, "00772f7800010101c040bf"},
      {"w/x", {{8191, 1}}, "00772f7800010101dfff81"},
      {"w/x", {{8192, 8192}}, "00772f7800010101e02000e02000"},
      {"w/x", {{1048576, 100}}, "00772f7800010101f0100000c064"},
      {"w/x", {{134217728, 3}}, "00772f7800010101f80800000083"},
      {"w/x", {{two_48, 2}}, "00772f7800010101ff0100000000000082"},
      {"w/x", {{two_55, 2}}, "00772f7800010101ff8080000000000000 82"},
      {"w/x", {{two_55 - 1, 1}}, "00772f7800010101ff7fffffffffffff81"},
      {"w/x", {{two_62, 5}}, "00772f7800010101ffc0400000000000000085"},
      {"sc", {}, "00736300010 0"},
      {std::string("a\0b\xff", 4), {}, "006100ff62ff00000100"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.name);
    CAPTURE(example.key_hex);
    std::string hex = example.key_hex;
    std::erase(hex, ' ');
    CHECK(slice_key(example.name, example.extents) == from_hex(hex));
  }
}

TEST_CASE("slice keys sort as their extents do") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  std::vector<std::int64_t> numbers;
  for (int i = 0; i < 2000; ++i)
    numbers.push_back(static_cast<std::int64_t>(random() >> (1 + i % 63)));
  std::sort(numbers.begin(), numbers.end());
  for (std::size_t i = 1; i < numbers.size(); ++i) {
    if (numbers[i - 1] == numbers[i]) continue;
    CHECK(slice_key("x", std::vector<Extent>{{numbers[i - 1], 1}}) <
          slice_key("x", std::vector<Extent>{{numbers[i], 1}}));
  }
}

}  // namespace
}  // namespace cairn::format::tensorflow
