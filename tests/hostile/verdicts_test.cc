// tests/golden/hostile: bundles that break one rule each, with what a reader is to make of them.

#include <doctest/doctest.h>

#include "sandbox.h"

namespace cairn {
namespace {

using test::refusal;
using test::fs::path;

// "accept", "refuse" or "either" for each name: {"name": "verdict", …}, one a line.
std::map<std::string, std::string> verdicts() {
  std::map<std::string, std::string> found;
  const std::string text = test::read_file(test::golden("hostile/expected.json"));
  const auto quoted = [&](std::size_t& at) {
    const std::size_t begin = text.find('"', at) + 1;
    if (begin == 0) return std::string();
    const std::size_t end = text.find('"', begin);
    at = end + 1;
    return text.substr(begin, end - begin);
  };
  for (std::size_t at = 0;;) {
    const std::string name = quoted(at);
    if (name.empty()) return found;
    found[name] = quoted(at);
  }
}

// Everything that a user may do with a checkpoint; the first error.
Result<test::Values> use(const path& prefix, const OpenOptions& options) {
  auto checkpoint = Checkpoint::open(prefix, options);
  if (!checkpoint) return std::move(checkpoint).error();
  auto seen = checkpoint->verify();
  if (!seen) return std::move(seen).error();
  auto values = test::values_of(*checkpoint);
  if (values && !seen->damage.empty()) return Error{Code::Corrupt, 0, "verify found damage"};
  return values;
}

TEST_CASE("each malformed checkpoint gets its verdict, whatever the access") {
  const auto expected = verdicts();
  REQUIRE(expected.size() == 37);
  for (const auto& [name, verdict] : expected) {
    for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
      OpenOptions options;
      options.access = access;
      const auto values = use(test::golden("hostile") / name, options);
      INFO(name, " is to be ", verdict, ": ", refusal(values));
      if (verdict == "accept") CHECK(values);
      if (verdict != "refuse") continue;
      REQUIRE_FALSE(values);
      CHECK(values.error().code != Code::Invalid);
      CHECK(values.error().what.find(name) != std::string::npos);
    }
  }
}

TEST_CASE("what is refused is never imported, exported or converted as if it were whole") {
  for (const auto& [name, verdict] : verdicts()) {
    test::Sandbox box;
    test::copy_checkpoint(test::golden("hostile") / name, box / "m");
    TransferOptions options;
    options.output = box / "out/m";
    const auto converted = convert(box / "m", Format::Cairn, options);
    INFO(name, " is to be ", verdict, ": ", refusal(converted));
    if (verdict == "refuse") CHECK_FALSE(converted);
    if (verdict == "accept") CHECK(converted);
    const auto imported = import_index(box / "m");
    if (verdict == "accept") CHECK_MESSAGE(imported, refusal(imported));
    if (imported && verdict == "refuse") CHECK_FALSE(use(box / "m", {}));
    if (imported && verdict == "accept") CHECK(*use(box / "m", {}) == *use(box / "out/m", {}));
  }
}

}  // namespace
}  // namespace cairn
