#include "cairn/error.h"

#include <doctest/doctest.h>

#include <string>
#include <type_traits>
#include <utility>

namespace cairn {
namespace {

struct Lender;

}  // namespace

template <>
inline constexpr bool hands_out_views<Lender> = true;

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

TEST_CASE("or_else replaces a failure, and value is the value") {
  const auto seven = [](const Error& error) -> Result<int> {
    if (error.what == "odd") return 7;
    return error;
  };
  CHECK(half(3).or_else(seven).value() == 7);
  CHECK(half(4).or_else(seven).value() == 2);
  const Result<void> failed = Error{Code::Io, 0, "disk"};
  CHECK(Result<void>(failed).or_else([](Error) { return Result<void>(); }));
  CHECK(Result<void>().or_else([](Error error) -> Result<void> { return error; }));
  CHECK(Result<std::string>(std::string("moved")).value_or("") == "moved");
}

struct Owner {
  int value = 3;
};
struct Lender {
  int value = 3;
};

template <class T>
concept HasArrowOnTemporary = requires(Result<T> (*make)()) { make()->value; };

TEST_CASE("a temporary Result of what hands out views has no ->, and * gives it by value") {
  static_assert(HasArrowOnTemporary<Owner>);
  static_assert(!HasArrowOnTemporary<Lender>);
  static_assert(std::is_same_v<decltype(*std::declval<Result<Lender>>()), Lender>);
  Result<Lender> kept = Lender{4};
  CHECK(kept->value == 4);
  CHECK((*std::move(kept)).value == 4);
}

TEST_CASE("every code has a name") {
  for (int code = 0; code <= static_cast<int>(Code::Cancelled); ++code) {
    CHECK(std::string(name(static_cast<Code>(code))) != "unknown");
  }
}

}  // namespace
}  // namespace cairn
