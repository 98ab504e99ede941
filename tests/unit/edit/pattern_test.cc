#include "lib/edit/pattern.h"

#include <doctest/doctest.h>

#include <random>
#include <regex>

#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;

// What one pattern makes of a name, or why it does not.
std::string replaced(const std::string& name, const std::string& from, const std::string& to) {
  const auto pattern = internal::Pattern::compile({from, to});
  return pattern ? pattern->replaced(name).value_or("no match") : test::refusal(pattern);
}

TEST_CASE("a pattern replaces as ECMAScript does, in UTF-8") {
  CHECK(replaced("abxc", "x*", "-") == "-a-b--c-");
  CHECK(replaced("ab", "(b)|(z)", "<$1$2>") == "a<b>");
  CHECK(replaced("ab", "(a)", "$10$$1$&$") == "a0$1a$b");
  CHECK(replaced("abcdefghijk", "(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", "$11$10$1") == "kja");
  CHECK(replaced("caf\u00e9/w", "^....$|^....(?:/)", "x/") == "x/w");
  CHECK(replaced("\u00e9", "", "-") == "-\u00e9-");
  CHECK(replaced("\xe9\xff", ".", "-") == "--");
  CHECK(replaced("a/\xff", "\xff", "b") == "a/b");
  CHECK(replaced("a\u00e9\xff", "\u00e9", "e") == "ae\xff");
  CHECK(replaced("a.b", "\\.", "/") == "a/b");
  CHECK(replaced("w_bw", "\\bw", "v") == "v_bw");
}

TEST_CASE("what a pattern or its replacement cannot say is refused in words") {
  CHECK(has(replaced("a", "(?=a)", "b"), "Unsupported: \"(?=a)\": \"(?=\" is look-around"));
  CHECK(has(replaced("a", "(?!a)", "b"), "look-around"));
  CHECK(has(replaced("a", "(?<=a)b", "b"), "look-around"));
  CHECK(has(replaced("aa", "(a)\\1", "b"), "is a back-reference"));
  CHECK(has(replaced("a", "(a)", "$2"), "Invalid: \"$2\", which replaces \"(a)\": there is no "));
  CHECK(has(replaced("a", "a", "$0"), "there is no group $0"));
  CHECK(has(replaced("a", "a", "$`"), "Unsupported: "));
  for (const char* foreign : {"\\1a", "x\\9", "${1}", "a$<n>"})
    CHECK(has(replaced("a", "(?P<n>a)", foreign), "is not a group: use $1 for the first group"));
  CHECK(replaced("a", "a", "b\\n$") == "b\\n$");
  CHECK(has(replaced("a", "a{1001}", "b"), "{1001}; the limit is 1000"));
  CHECK(has(replaced("a", "(?<n>a)", "b"), "as (?P<name>...)"));
  CHECK(has(replaced("a", "\\d{2", "\\1"), "\\d{2"));
  CHECK(has(replaced("a", "((a{100}){100}){100}", "b"), "Invalid: "));
  CHECK(has(replaced("a", "*", "b"), "is not a regular expression"));
}

TEST_CASE("random patterns replace as the standard library's do") {
  const std::uint32_t seed = std::random_device()();
  INFO("seed ", seed);
  std::mt19937 random(seed);
  const auto pick = [&](std::string_view of, std::size_t count) {
    std::string text;
    while (text.size() < count) text += of[random() % of.size()];
    return text;
  };
  const std::string kPieces[] = {"a", "b",  "[ab]",   "(a)", "(b|c)",
                                 ".", "c+", "(?:ab)", "a?b", "^a"};
  int matched = 0;
  for (int round = 0; round < 3'000; ++round) {
    std::string from;
    for (std::size_t n = 1 + random() % 3; n-- > 0;) from += kPieces[random() % 10];
    const std::string to = "<" + pick("x$", random() % 2) + "$&>";
    const std::string name = pick("abc/", random() % 12);
    INFO("pattern ", from, " to ", to, " in ", name);
    const auto pattern = internal::Pattern::compile({from, to});
    REQUIRE(pattern);
    const auto replaced = pattern->replaced(name);
    const std::regex oracle(from);
    REQUIRE(replaced.has_value() == std::regex_search(name, oracle));
    if (!replaced) continue;
    CHECK(*replaced == std::regex_replace(name, oracle, to));
    ++matched;
  }
  CHECK(matched > 100);
}

}  // namespace
}  // namespace cairn
