// What the caller's function hears, and on which thread.

#include <doctest/doctest.h>

#include <filesystem>
#include <thread>

#include "cairn/cairn.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::raw;
using test::refusal;
using test::Scratch;
using test::write_checkpoint;

struct Heard {
  EventKind kind;
  std::string path;
  std::string message;
  std::string tensor;
  std::uint64_t bytes;
  std::chrono::nanoseconds duration;
  std::thread::id thread;
};

class Log {
 public:
  EventListener listener() {
    return [this](const Event& event) {
      heard.push_back({event.kind, std::string(event.path), std::string(event.message),
                       std::string(event.tensor), event.bytes, event.duration,
                       std::this_thread::get_id()});
    };
  }
  std::string kinds() const {
    std::string all;
    for (const Heard& each : heard) all += (all.empty() ? "" : " ") + std::string(name(each.kind));
    return all;
  }
  std::vector<Heard> heard;
};

std::vector<test::Content> contents() {
  return {raw("good", DType::Int32, {1000}), raw("hurt", DType::Int32, {3000})};
}

void damage(const Scratch& scratch) {
  const auto offset = test::tensor_of(test::open_checkpoint(scratch / "p"), "hurt").offset_bytes();
  test::flip_bit(scratch / "p.data-00000-of-00001", offset + 5000, 3);
}

TEST_CASE("an open is told once, with the bytes of its shards and how long it took") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  Log log;
  OpenOptions options;
  options.on_event = log.listener();
  const auto opened = Checkpoint::open(scratch / "p.index", options);
  REQUIRE_OK(opened);
  CHECK(log.kinds() == "opened");
  const Heard& heard = log.heard.front();
  CHECK(heard.path == scratch / "p.index");
  CHECK(heard.bytes == opened->shard_at(0).size_bytes);
  CHECK(heard.duration > std::chrono::nanoseconds(0));
  CHECK(heard.thread == std::this_thread::get_id());
  CHECK(heard.message.empty());
}

TEST_CASE("an open that fails is told with its error, by each function that opens") {
  const Scratch scratch;
  Log log;
  OpenOptions options;
  options.on_event = log.listener();
  RestoreOptions restoring;
  restoring.on_event = log.listener();
  const auto opened = Checkpoint::open(scratch / "p", options);
  CHECK(refusal(opened) == Code::NotFound);
  CHECK(refusal(restore(scratch / "p", restoring)) == Code::NotFound);
  CHECK(refusal(Checkpoint::open_descriptor(-1, "p", options)) == Code::Invalid);
  CHECK(refusal(Checkpoint::open_async(scratch / "p", options).wait()) == Code::NotFound);
  CHECK(log.kinds() == "failed failed failed failed");
  CHECK(log.heard.front().message == opened.error().what);
  CHECK(log.heard.front().path == scratch / "p");
}

TEST_CASE("warnings, and what was checked, are told before the open") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  test::make_writable(scratch / "p.data-00000-of-00001");
  std::filesystem::last_write_time(scratch / "p.data-00000-of-00001",
                                   std::filesystem::file_time_type::clock::now());
  Log log;
  OpenOptions options;
  options.verify = Verify::Full;
  options.on_event = log.listener();
  const auto opened = Checkpoint::open(scratch / "p", options);
  REQUIRE_OK(opened);
  CHECK(log.kinds() == "checked warning opened");
  CHECK(log.heard[0].bytes == opened->verify()->bytes_checked);
  CHECK(log.heard[0].duration > std::chrono::nanoseconds(0));
  CHECK(log.heard[1].message == opened->warnings().front());
  CHECK(log.kinds() == "checked warning opened checked");  // of verify()
}

TEST_CASE("damage is told wherever it is found: at once, by verify, and on first use") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  damage(scratch);
  Log log;
  RestoreOptions restoring;
  restoring.on_event = log.listener();
  CHECK(refusal(restore(scratch / "p", restoring)) == Code::Corrupt);
  CHECK(log.kinds() == "damaged checked failed");
  CHECK(log.heard.front().tensor == "hurt");
  CHECK(log.heard.front().bytes > 0);

  Log later;
  {
    OpenOptions options;
    options.on_event = later.listener();
    const Checkpoint opened = test::open_checkpoint(scratch / "p", options);
    later.heard.clear();
    CHECK(opened.verify()->damage.size() == 1);
    CHECK(later.kinds() == "damaged checked");
    later.heard.clear();
    CHECK(test::tensor_of(opened, "good").bytes());
    CHECK(later.heard.empty());
    std::thread other([&] { CHECK_FALSE(test::tensor_of(opened, "hurt").bytes().has_value()); });
    const std::thread::id on = other.get_id();
    other.join();
    REQUIRE(later.kinds() == "damaged");
    CHECK(later.heard.front().thread == on);
    CHECK(later.heard.front().message.find("is damaged") != std::string::npos);
    std::vector<std::byte> out(12000);
    const Read reads[] = {{"hurt", {}, out}};
    CHECK_FALSE(opened.read(reads).has_value());
    CHECK(later.kinds() == "damaged damaged");
  }
}

TEST_CASE("a copy of the listener lives as long as the checkpoint, and no longer") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  const auto held = std::make_shared<int>(0);
  OpenOptions options;
  options.on_event = [held](const Event&) { ++*held; };
  {
    const Checkpoint opened = test::open_checkpoint(scratch / "p", options);
    options.on_event = nullptr;
    CHECK(held.use_count() == 2);
    CHECK(*held == 1);
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("the Watcher tells what it leaves out") {
  const Scratch scratch;
  auto saver = Saver::open(scratch.path());
  REQUIRE_OK(saver);
  for (const std::int64_t step : {1, 2}) {
    const std::int32_t value = 7;
    const NamedTensor tensors[] = {
        {{"v", DType::Int32, {}}, std::as_bytes(std::span(&value, 1)), {}}};
    REQUIRE_OK(saver->save("m", tensors, {.step = step}));
  }
  for (const std::string& name : scratch.names()) {
    if (name.starts_with("m-1.data")) std::filesystem::remove(scratch / name);
  }
  Log log;
  WatcherOptions options;
  options.on_event = log.listener();
  auto watcher = Watcher::open(scratch.path(), options);
  REQUIRE_OK(watcher);
  const auto next = watcher->next(std::chrono::milliseconds(0));
  REQUIRE_OK(next);
  REQUIRE(next->skipped.size() == 1);
  CHECK(log.kinds() == "skipped");
  CHECK(log.heard.front().path == next->skipped.front().prefix);
  CHECK(log.heard.front().message == next->skipped.front().why);
}

TEST_CASE("each kind of event has a name of its own") {
  std::set<std::string_view> names;
  for (const EventKind kind :
       {EventKind::Opened, EventKind::Failed, EventKind::Warning, EventKind::Checked,
        EventKind::Damaged, EventKind::Skipped, EventKind::Published, EventKind::RolledBack})
    names.insert(name(kind));
  CHECK(names.size() == 8);
  CHECK(name(static_cast<EventKind>(99)) == "unknown");
}

}  // namespace
}  // namespace cairn
