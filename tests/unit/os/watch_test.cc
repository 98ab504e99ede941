#include <doctest/doctest.h>

#include <stop_token>
#include <thread>

#include "lib/os/watch.h"
#include "tests/unit/sandbox.h"

namespace cairn::os {
namespace {

using Clock = std::chrono::steady_clock;
using test::Sandbox;
using test::write_file;
using test::fs::path;

constexpr std::chrono::seconds kLong(60);
constexpr std::chrono::milliseconds kShort(50);

// Whether what `act` does to the name ends a wait that it comes before, and not time.
template <class Act>
bool ends(NameWatch& watch, std::chrono::milliseconds wait, Act act) {
  watch.attach();
  act();
  const Clock::time_point until = Clock::now() + wait;
  REQUIRE(watch.wait(until, {}));
  return Clock::now() < until;
}

TEST_CASE("whatever puts a file under the name ends the wait") {
  const Sandbox box;
  NameWatch watch(box.root(), "name");
  watch.attach();
  if (!watch.sees_all()) {
    MESSAGE("skipped: the temporary directory is on no file system that is known to be local");
    return;
  }
  CHECK(ends(watch, kLong, [&] { write_file(box / "name", "made"); }));
  CHECK(ends(watch, kLong, [&] { std::ofstream(box / "name") << "in place"; }));
  write_file(box / "other", "x");
  CHECK(ends(watch, kLong, [&] { test::fs::rename(box / "other", box / "name"); }));
}

TEST_CASE("what happens to other names does not end the wait") {
  const Sandbox box;
  NameWatch watch(box.root(), "name");
  CHECK_FALSE(ends(watch, kShort, [&] {
    for (const char* other : {"nam", "name1", "name.tmp", "eman"}) write_file(box / other, "x");
    test::fs::rename(box / "nam", box / "renamed");
  }));
}

TEST_CASE("many events of other names hide none of the name's") {
  const Sandbox box;
  NameWatch watch(box.root(), "name");
  CHECK(ends(watch, kLong, [&] {
    for (int i = 0; i < 1000; ++i) write_file(box / ("other" + std::to_string(i)), "x");
    write_file(box / "name", "x");
  }));
}

TEST_CASE("a directory that goes ends the wait, and the one that takes its place is watched") {
  const Sandbox box;
  test::fs::create_directory(box / "dir");
  NameWatch watch(box / "dir", "name");
  CHECK(ends(watch, kLong, [&] { test::fs::remove_all(box / "dir"); }));
  watch.attach();
  CHECK_FALSE(watch.sees_all());
  test::fs::create_directory(box / "dir");
  CHECK(ends(watch, kLong, [&] { write_file(box / "dir/name", "x"); }));
  CHECK(ends(watch, kLong, [&] { test::fs::rename(box / "dir", box / "moved"); }));
  test::fs::create_directory(box / "dir");
  CHECK(ends(watch, kLong, [&] { write_file(box / "dir/name", "x"); }));
  CHECK_FALSE(ends(watch, kShort, [&] { write_file(box / "moved/name", "x"); }));
}

TEST_CASE("a file system that is not known to be local is not trusted to tell all") {
  NameWatch watch("/proc/self", "name");
  watch.attach();
  CHECK_FALSE(watch.sees_all());
}

TEST_CASE("a stop that was requested before or is requested meanwhile ends the wait") {
  const Sandbox box;
  NameWatch watch(box.root(), "name");
  const Clock::time_point until = Clock::now() + kLong;
  std::stop_source before;
  before.request_stop();
  REQUIRE(watch.wait(until, before.get_token()));
  std::stop_source meanwhile;
  std::jthread other([&] { meanwhile.request_stop(); });
  REQUIRE(watch.wait(until, meanwhile.get_token()));
  CHECK(Clock::now() < until);
}

}  // namespace
}  // namespace cairn::os
