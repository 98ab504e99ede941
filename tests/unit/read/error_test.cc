#include "cairn/error.h"

#include <doctest/doctest.h>

#include <string>

namespace cairn {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return Error{Code::Invalid, 0, "odd"};
  return number / 2;
}

TEST_CASE("a Result carries a value or the reason why there is none") {
  CHECK(*half(4) == 2);
  CHECK_FALSE(half(3).has_value());
  CHECK(half(3).error().what == "odd");
  CHECK(half(3).error().code == Code::Invalid);
  CHECK(half(3).value_or(7) == 7);
}

TEST_CASE("and_then stops at the first failure, transform changes only a value") {
  CHECK(*half(8).and_then(half) == 2);
  CHECK(half(6).and_then(half).error().what == "odd");
  CHECK(*half(8).transform([](int number) { return std::to_string(number); }) == "4");
  CHECK_FALSE(half(7).transform([](int number) { return number; }).has_value());
}

TEST_CASE("every code has a name") {
  for (int code = 0; code <= static_cast<int>(Code::Cancelled); ++code) {
    CHECK(std::string(name(static_cast<Code>(code))) != "unknown");
  }
}

}  // namespace
}  // namespace cairn
