#include <doctest/doctest.h>

#include <fstream>
#include <string>

#include "cairn/live.h"
#include "tests/unit/live/live_parts.h"

namespace cairn {
namespace {

using test::current_number;
using test::has;
using test::milliseconds;
using test::NumberedSaver;
using test::open_live;
using test::poll_until;
using test::quick;
using test::Sandbox;
using test::settle;
using test::shard_of;
using test::status_of;
using test::fs::path;

constexpr std::size_t kMiB = std::size_t{1} << 20;

// How often this process maps the file, deleted or not.
int mappings_of(const path& file) {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);)
    if (has(line, file.string())) ++count;
  return count;
}

TEST_CASE("a poll without a budget does one slice") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1, 5 * kMiB / sizeof(float));
  Live live = open_live(dir.root());
  std::uint64_t before = 0;
  int checks = 0;
  while (status_of(live).state != LiveState::Checking) live.poll(milliseconds(0));
  while (status_of(live).state == LiveState::Checking) {
    live.poll(milliseconds(0));
    const std::uint64_t now = status_of(live).checked_bytes;
    CHECK(now - before <= kMiB);
    before = now;
    ++checks;
  }
  CHECK(checks >= 5);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
}

TEST_CASE("the limit of bytes per second says when to go on") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1, 3 * kMiB / sizeof(float));
  LiveOptions options = quick();
  options.bytes_per_second_max = 1000;  // 1 MiB takes 17 minutes
  Live live = open_live(dir.root(), options);
  REQUIRE(poll_until(live, [&] { return status_of(live).checked_bytes > 0; }));
  const std::uint64_t bytes = status_of(live).checked_bytes;
  CHECK(live.poll(milliseconds(0)) > std::chrono::minutes(1));
  CHECK(status_of(live).checked_bytes == bytes);
}

TEST_CASE("what is brought in is in memory, and was checked once and for all") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  const path prefix = saver.save(1, kMiB);
  Live live = open_live(dir.root());
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  const Snapshot snapshot = live.current();
  const auto resident = snapshot.checkpoint().resident_bytes();
  REQUIRE(resident);
  CHECK(*resident == test::fs::file_size(shard_of(prefix)));
  CHECK(status_of(live).checked_bytes == *resident);
  CHECK(status_of(live).populated_bytes == *resident);
  CHECK(status_of(live).warnings.empty());
}

TEST_CASE("what does not fit is mapped, not populated, and said") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1, kMiB);
  LiveOptions options = quick();
  options.populate_bytes_max = kMiB;
  Live live = open_live(dir.root(), options);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  const LiveStatus status = status_of(live);
  CHECK(status.populated_bytes == 0);
  REQUIRE(status.warnings.size() == 1);
  CHECK(has(status.warnings[0], "mapped and not populated"));
}

TEST_CASE("an old mapping goes in poll, after its last snapshot, and not in a request") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  const path one = shard_of(saver.save(1));
  Live live = open_live(dir.root());
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  Snapshot held = live.current();
  saver.save(2);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  CHECK(mappings_of(one) == 1);  // for a rollback
  saver.save(3);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 3; }));
  settle(live);
  CHECK(status_of(live).retired_count == 1);
  CHECK(mappings_of(one) == 1);
  CHECK(test::number_in(held) == 1);
  Snapshot copy = held;
  held = Snapshot();
  settle(live);
  CHECK(test::number_in(copy) == 1);
  copy = Snapshot();
  CHECK(mappings_of(one) == 1);  // not by the one who lets it go
  CHECK(status_of(live).retired_count == 1);
  settle(live);
  CHECK(mappings_of(one) == 0);
  CHECK(status_of(live).retired_count == 0);
  CHECK(status_of(live).released_count == 1);
}

TEST_CASE("snapshots outlive their Live, and the last one ends the mapping") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  const path one = shard_of(saver.save(1));
  Snapshot held;
  {
    Live live = open_live(dir.root());
    REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
    held = live.current();
  }
  CHECK(test::number_in(held) == 1);
  CHECK(mappings_of(one) == 1);
  held = Snapshot();
  CHECK(mappings_of(one) == 0);
}

TEST_CASE("the pages of the one for a rollback are given back for the next, and come again") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1, kMiB);
  bool bad = false;
  LiveOptions options = quick();
  std::uint64_t resident_then = 1;
  const Checkpoint watched = [&] {
    auto opened = Checkpoint::open(dir / "m-1");
    REQUIRE(opened);
    return *opened;
  }();
  options.prepare = [&](const Checkpoint&) -> Result<std::shared_ptr<void>> {
    resident_then = watched.resident_bytes().value_or(1);
    if (bad) return Error{Code::Invalid, 0, "bad"};
    return std::shared_ptr<void>();
  };
  Live live = open_live(dir.root(), options);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  saver.save(2, kMiB);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  CHECK(resident_then > 4 * kMiB);  // it was the current one
  bad = true;
  saver.save(3, kMiB);
  REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count == 1; }));
  CHECK(resident_then == 0);
  REQUIRE(live.rollback());
  CHECK(watched.resident_bytes().value_or(0) > 4 * kMiB);
  CHECK(current_number(live) == 1);
}

TEST_CASE("files that two checkpoints share are read once and stay in the page cache") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  const path one = saver.save(1, kMiB);
  Live live = open_live(dir.root());
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  const std::uint64_t checked = status_of(live).checked_bytes;
  const path two = dir / "m-2";
  for (const char* suffix : {".data-00000-of-00001", ".index"})
    test::fs::create_hard_link(one.string() + suffix, two.string() + suffix);
  REQUIRE(set_latest_checkpoint(dir.root(), two));
  REQUIRE(poll_until(live, [&] { return status_of(live).prefix == two; }));
  CHECK(current_number(live) == 1);
  CHECK(status_of(live).checked_bytes - checked < kMiB / 100);
  const Snapshot snapshot = live.current();
  for (const int number : {3, 4}) {
    saver.save(number, kMiB);
    REQUIRE(poll_until(live, [&] { return current_number(live) == number; }));
  }
  settle(live);
  const auto resident = snapshot.checkpoint().resident_bytes();
  REQUIRE(resident);
  CHECK(*resident > 4 * kMiB);  // a snapshot holds the other name of the file
}

TEST_CASE("no descriptor is left behind, whatever was published or rejected") {
  const Sandbox dir;
  SaverOptions keeps;
  keeps.keep_any_of = {Retention::newest(2)};
  NumberedSaver saver(dir.root(), keeps);
  saver.save(1);
  Live live = open_live(dir.root());
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  saver.save(2);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  settle(live);
  const std::size_t before = test::open_file_count();
  for (int number = 3; number < 30; ++number) {
    const path prefix = saver.save(number);
    if (number % 3 == 0) {
      test::flip_byte(shard_of(prefix), 5000);
      REQUIRE(poll_until(live, [&] {
        return !test::reason_of(status_of(live), prefix).empty() || current_number(live) == number;
      }));
    } else {
      REQUIRE(poll_until(live, [&] { return current_number(live) == number; }));
    }
  }
  settle(live);
  CHECK(test::open_file_count() == before);
  CHECK(status_of(live).retired_count == 0);
}

}  // namespace
}  // namespace cairn
