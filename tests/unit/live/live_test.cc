#include "cairn/live.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>

#include "tests/unit/golden.h"
#include "tests/unit/live/live_parts.h"

namespace cairn {
namespace {

using test::current_number;
using test::has;
using test::kShard;
using test::milliseconds;
using test::NumberedSaver;
using test::open_live;
using test::poll_until;
using test::quick;
using test::reason_of;
using test::refusal;
using test::Sandbox;
using test::ServedModel;
using test::settle;
using test::shard_of;
using test::status_of;
using test::fs::path;

static_assert(std::is_nothrow_move_constructible_v<Live>);
static_assert(std::is_nothrow_move_constructible_v<Snapshot>);
static_assert(!std::is_copy_constructible_v<Live>);

TEST_CASE("a Live follows the saves of a Saver") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  Live live = open_live(dir.root());
  CHECK_FALSE(live.current());
  settle(live);
  CHECK_FALSE(live.current());
  for (const int number : {1, 2, 7}) {
    saver.save(number);
    REQUIRE(poll_until(live, [&] { return current_number(live) == number; }));
  }
  const LiveStatus status = status_of(live);
  CHECK(status.generation == 3);
  CHECK(status.swap_count == 3);
  CHECK(status.prefix == dir / "m-7");
  CHECK(status.rollback == dir / "m-2");
  const Snapshot snapshot = live.current();
  CHECK(status.digest == snapshot.digest());
  CHECK(status.digest == snapshot.checkpoint().digest());
  CHECK(status.rejected_count == 0);
  CHECK(status.quarantine.empty());
  CHECK(status.last_error.empty());
}

TEST_CASE("only the newest of several new checkpoints is published") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  for (const int number : {1, 2, 3}) saver.save(number);
  Live live = open_live(dir.root());
  REQUIRE(poll_until(live, [&] { return current_number(live) == 3; }));
  for (const int number : {4, 5}) saver.save(number);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 5; }));
  CHECK(status_of(live).swap_count == 2);
}

TEST_CASE("a prefix that is saved again is published again") {
  const Sandbox dir;
  Live live = open_live(dir / "m");
  settle(live);
  CHECK(has(status_of(live).last_error, "does not exist yet"));
  for (const int number : {1, 2, 3}) {
    test::save_numbered(dir / "m", number);
    REQUIRE(poll_until(live, [&] { return current_number(live) == number; }));
  }
  CHECK(status_of(live).last_error.empty());
  CHECK(status_of(live).quarantine.empty());
}

TEST_CASE("a file of another format is published when it is replaced") {
  const Sandbox dir;
  test::save_numbered(dir / "source", 1);
  const auto publish = [&](int number) {
    test::save_numbered(dir / "source", number);
    const auto done =
        convert(dir / "source", Format::Safetensors, {.output = dir / "new", .replace = true});
    REQUIRE_MESSAGE(done, test::refusal(done));
    test::fs::rename(dir / "new.safetensors", dir / "m.safetensors");
  };
  publish(1);
  Live live = open_live(dir / "m.safetensors");
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  const LiveStatus status = status_of(live);
  CHECK(std::ranges::any_of(status.warnings,
                            [](const auto& text) { return has(text, "have no checksum"); }));
  publish(2);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
}

TEST_CASE_FIXTURE(ServedModel, "what is only touched or imported is not published again") {
  test::fs::last_write_time(shard_of(first), test::fs::file_time_type::clock::now());
  test::fs::last_write_time(first.string() + ".index", test::fs::file_time_type::clock::now());
  settle(live);
  CHECK(status_of(live).swap_count == 1);
  CHECK(status_of(live).quarantine.empty());
}

TEST_CASE_FIXTURE(ServedModel,
                  "a damaged checkpoint is never published, and is when it was repaired") {
  const path prefix = saver.save(2);
  const std::string good = test::read_file(shard_of(prefix));
  test::flip_byte(shard_of(prefix), 5000);
  REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count == 1; }));
  settle(live);
  LiveStatus status = status_of(live);
  CHECK(current_number(live) == 1);
  CHECK(status.rejected_count == 1);
  const std::string why = reason_of(status, prefix);
  CHECK(has(why, "m-2.data-00000-of-00001"));
  CHECK(has(why, "bytes "));
  REQUIRE(status.quarantine.size() == 1);
  CHECK(status.quarantine[0].code == Code::Corrupt);
  CHECK(status.quarantine[0].digest.has_value());
  CHECK(status.quarantine[0].files.size() == 3);

  test::write_file(shard_of(prefix), good);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  CHECK(status_of(live).quarantine.empty());
}

TEST_CASE_FIXTURE(
    ServedModel,
    "a shard that is cut, missing, or half copied is in quarantine until it is whole") {
  const path prefix = saver.save(2);
  const std::string good = test::read_file(shard_of(prefix));

  SUBCASE("cut") { test::truncate_file(shard_of(prefix), good.size() / 2); }
  SUBCASE("missing") { test::fs::remove(shard_of(prefix)); }
  SUBCASE("half copied, of the right size") {
    std::string half = good;
    std::fill(half.begin() + static_cast<std::ptrdiff_t>(half.size() / 2), half.end(), '\0');
    test::write_file(shard_of(prefix), half);
  }
  REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count == 1; }));
  settle(live);
  CHECK(status_of(live).rejected_count == 1);
  CHECK(current_number(live) == 1);
  CHECK_FALSE(reason_of(status_of(live), prefix).empty());

  test::write_file(shard_of(prefix), good);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  CHECK(status_of(live).quarantine.empty());
}

TEST_CASE("if the newest is in quarantine, the one before it is published, but nothing older") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1);
  saver.save(2);
  test::flip_byte(shard_of(saver.save(3)), 5000);
  Live live = open_live(dir.root());
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  settle(live);
  CHECK(current_number(live) == 2);
  CHECK(status_of(live).quarantine.size() == 1);

  saver.save(4);
  test::flip_byte(shard_of(saver.save(5)), 5000);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 4; }));
  settle(live);
  CHECK(current_number(live) == 4);
  CHECK(status_of(live).swap_count == 2);
}

TEST_CASE("another shape is rejected, unless the caller allows it or expects it") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1);
  SUBCASE("rejected") {
    Live live = open_live(dir.root());
    REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
    const path prefix = saver.save(2, 99);
    REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count == 1; }));
    CHECK(has(reason_of(status_of(live), prefix), "[99]"));
    CHECK(current_number(live) == 1);
    saver.save(3);
    REQUIRE(poll_until(live, [&] { return current_number(live) == 3; }));
  }
  SUBCASE("allowed") {
    LiveOptions options = quick();
    options.same_tensors = false;
    Live live = open_live(dir.root(), options);
    REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
    saver.save(2, 99);
    REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  }
  SUBCASE("the first one is not what is expected") {
    LiveOptions options = quick();
    options.expected = {
        {"a", DType::Float32, {99}}, {"b", DType::Float32, {7}}, {"n", DType::Int32, {}}};
    Live live = open_live(dir.root(), options);
    REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count == 1; }));
    CHECK_FALSE(live.current());
    saver.save(2, 99);
    REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  }
  SUBCASE("a digest") {
    saver.save(2);
    const auto two = Checkpoint::open(dir / "m-2");
    REQUIRE(two);
    LiveOptions options = quick();
    options.expected_digest = two->digest();
    saver.save(3);
    Live live = open_live(dir.root(), options);
    REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
    CHECK(has(reason_of(status_of(live), dir / "m-3"), "digest"));
  }
}

TEST_CASE("the caller prepares a model, which is published with the checkpoint, or refuses it") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1);
  LiveOptions options = quick();
  options.prepare = [](const Checkpoint& checkpoint) -> Result<std::shared_ptr<void>> {
    const int number = checkpoint.tensor("n")->values<std::int32_t>()->front();
    if (number == 2) return Error{Code::Invalid, 0, "the caller does not like twos"};
    if (number == 3) throw std::runtime_error("three");
    return std::shared_ptr<void>(std::make_shared<int>(10 * number));
  };
  Live live = open_live(dir.root(), options);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  const Snapshot one = live.current();
  CHECK(*one.model<int>() == 10);
  const path two = saver.save(2);
  REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count == 1; }));
  CHECK(reason_of(status_of(live), two) == "the caller does not like twos");
  const path three = saver.save(3);
  REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count == 2; }));
  CHECK(reason_of(status_of(live), three) == "three");
  CHECK(current_number(live) == 1);
  saver.save(4);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 4; }));
  const Snapshot four = live.current();
  CHECK(*four.model<int>() == 40);
  CHECK(*one.model<int>() == 10);
}

TEST_CASE("what is removed while it is checked is not published") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1);
  LiveOptions options = quick();
  bool removes = false;
  options.prepare = [&](const Checkpoint& checkpoint) -> Result<std::shared_ptr<void>> {
    for (const char* suffix : {kShard, ".index", ".cairn"})
      if (removes) test::fs::remove(checkpoint.prefix().string() + suffix);
    return std::shared_ptr<void>();
  };
  Live live = open_live(dir.root(), options);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  removes = true;
  const path two = saver.save(2);
  REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count >= 1; }));
  CHECK(has(reason_of(status_of(live), two), "was removed or replaced before it was published"));
  settle(live);
  CHECK(current_number(live) == 1);
  CHECK_FALSE(reason_of(status_of(live), two).empty());
}

TEST_CASE("a rollback publishes the one before, and keeps the other out until it changes") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1);
  Live live = open_live(dir.root());
  CHECK(has(refusal(live.rollback()), "there is no earlier checkpoint"));
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  CHECK(has(refusal(live.rollback()), "there is no earlier checkpoint"));
  const path two = saver.save(2);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  REQUIRE(live.rollback());
  CHECK(current_number(live) == 1);
  CHECK(live.current().generation() == 1);
  settle(live);
  CHECK(current_number(live) == 1);
  CHECK(has(reason_of(status_of(live), two), "was rolled back"));
  CHECK(status_of(live).rollback_count == 1);
  CHECK(status_of(live).rollback.empty());
  CHECK(has(refusal(live.rollback()), "NotFound: "));

  saver.save(3);
  REQUIRE(poll_until(live, [&] { return current_number(live) == 3; }));
  CHECK(live.current().generation() == 3);
  CHECK(status_of(live).rollback == dir / "m-1");
}

TEST_CASE("a catalog that leads out of its directory leads to nothing") {
  const Sandbox dir;
  test::save_numbered(dir / "elsewhere", 1);
  test::fs::create_directory(dir / "saved");
  NumberedSaver saver(dir / "saved");
  saver.save(2);
  test::write_file(dir / "saved" / "checkpoint",
                   "model_checkpoint_path: \"../elsewhere\"\n"
                   "all_model_checkpoint_paths: \"m-2\"\n"
                   "all_model_checkpoint_paths: \"../elsewhere\"\n");
  Live live = open_live(dir / "saved");
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
  CHECK(status_of(live).quarantine.size() == 1);
  CHECK(status_of(live).quarantine[0].code == Code::Unsafe);
}

TEST_CASE_FIXTURE(ServedModel,
                  "a catalog that cannot be read is told, and the current checkpoint stays") {
  const std::string good = test::read_file(dir / "checkpoint");
  test::write_file(dir / "checkpoint", "model_checkpoint_path: 7");
  settle(live);
  CHECK(has(status_of(live).last_error, "checkpoint"));
  CHECK(current_number(live) == 1);
  test::write_file(dir / "checkpoint", good);
  settle(live);
  CHECK(status_of(live).last_error.empty());
}

TEST_CASE("checkpoints of every format are published") {
  const Sandbox dir;
  test::fs::copy(test::golden("tensorflow/saver_walk/saved"), dir / "saved");
  Live live = open_live(dir / "saved");
  REQUIRE(poll_until(live, [&] { return static_cast<bool>(live.current()); }));
  CHECK(status_of(live).prefix == dir / "saved" / "train2-9");
  int published = 0;
  for (const char* folder : {"tensorflow/v1", "flat", "gguf", "hdf5", "onnx", "pytorch"}) {
    for (const auto& entry : test::fs::recursive_directory_iterator(test::golden(folder))) {
      const path& file = entry.path();
      const auto checkpoint = Checkpoint::open(file);
      if (!checkpoint) continue;
      const auto verified = checkpoint->verify();
      const bool is_whole = verified && verified->damage.empty();
      INFO(file.string());
      Live other = open_live(file);
      REQUIRE(poll_until(other, [&] {
        const LiveStatus status = status_of(other);
        return status.generation != 0 || !status.quarantine.empty();
      }));
      CHECK(static_cast<bool>(other.current()) == is_whole);
      settle(other);
      CHECK(status_of(other).swap_count == (is_whole ? 1 : 0));
      ++published;
    }
  }
  CHECK(published > 20);
}

TEST_CASE("a link that is turned to another directory leads to another checkpoint") {
  const Sandbox dir;
  for (const int number : {1, 2}) {
    test::fs::create_directory(dir / std::to_string(number));
    test::save_numbered(dir / std::to_string(number) / "m", number);
  }
  test::fs::create_directory_symlink("1", dir / "now");
  Live live = open_live(dir / "now" / "m");
  REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  test::fs::create_directory_symlink("2", dir / "next");
  test::fs::rename(dir / "next", dir / "now");
  REQUIRE(poll_until(live, [&] { return current_number(live) == 2; }));
}

TEST_CASE("events tell of what is rejected, published and rolled back") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  test::flip_byte(shard_of(saver.save(1)), 5000);
  std::vector<std::string> heard;
  LiveOptions options = quick();
  options.on_event = [&](const Event& event) {
    heard.push_back(std::string(name(event.kind)) + " " + std::string(event.message));
  };
  Live live = open_live(dir.root(), options);
  REQUIRE(poll_until(live, [&] { return status_of(live).rejected_count == 1; }));
  REQUIRE(heard.size() >= 3);
  CHECK(has(heard.front(), "opened"));
  CHECK(std::ranges::count_if(heard,
                              [](const auto& text) { return text.starts_with("damaged"); }) == 1);
  CHECK(has(heard.back(), "skipped"));
  CHECK(has(heard.back(), reason_of(status_of(live), dir / "m-1")));
  for (const int number : {2, 3}) {
    saver.save(number);
    REQUIRE(poll_until(live, [&] { return current_number(live) == number; }));
  }
  REQUIRE(live.rollback());
  CHECK(std::ranges::count(heard, "published ") == 2);
  CHECK(heard.back() == "rolled back ");
}

TEST_CASE("options that make no sense are refused") {
  CHECK(has(refusal(Live::open("x", {.poll = milliseconds(0)})), "Invalid: x: polls every 0 ms"));
  CHECK(has(refusal(Live::open("x", {.poll = std::chrono::hours(25)})), "a day at most"));
}

TEST_CASE("run publishes what comes, and ends when it is told to") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1);
  LiveOptions options = quick();
  options.poll = milliseconds(60'000);  // inotify wakes it
  Live live = open_live(dir.root(), options);
  const auto wait_for = [&](int number) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (current_number(live) != number && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(milliseconds(1));
    CHECK(current_number(live) == number);
  };
  std::jthread thread([&](const std::stop_token& stop) { live.run(stop); });
  wait_for(1);
  saver.save(2);
  wait_for(2);
  CHECK(status_of(live).swap_count == 2);
  thread.request_stop();
  thread.join();
  saver.save(3);
  CHECK(current_number(live) == 2);
}

TEST_CASE("the status in Prometheus' format escapes what a path may hold") {
  LiveStatus status;
  status.generation = 3;
  status.swap_count = 3;
  status.prefix = "sa\\ved\n/\"m\"";
  const auto text = prometheus_text(status);
  REQUIRE(text);
  CHECK(
      has(*text, "cairn_live_checkpoint_info{prefix=\"sa\\\\ved\\n/\\\"m\\\"\",digest=\"\"} 1\n"));
  CHECK(has(*text, "# TYPE cairn_live_swaps_total counter\ncairn_live_swaps_total 3\n"));
  CHECK(has(*text, "cairn_live_state{state=\"idle\"} 1\n"));
}

}  // namespace
}  // namespace cairn
