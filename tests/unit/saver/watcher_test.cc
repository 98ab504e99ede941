#include <doctest/doctest.h>

#include <sys/resource.h>

#include <algorithm>
#include <random>
#include <stop_token>
#include <thread>
#include <type_traits>

#include "lib/os/watch.h"
#include "tests/unit/io_counts.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using std::chrono::milliseconds;
using test::has;
using test::refusal;
using test::Sandbox;
using test::fs::path;
using Names = std::vector<std::string>;

static_assert(std::is_nothrow_move_constructible_v<Watcher>);
static_assert(!std::is_copy_constructible_v<Watcher>);

// For what must come: a test that waits so long has failed.
constexpr milliseconds kLong(60'000);
constexpr milliseconds kNever = std::chrono::hours(24);

void save_number(const path& prefix, std::int32_t number) {
  test::save(prefix, {{{"v", test::int_scalar(number)}}});
}

void list(const path& dir, const Names& names, std::string_view catalog = "checkpoint") {
  CheckpointState state;
  for (const std::string& name : names) state.all_model_checkpoint_paths.emplace_back(name);
  state.model_checkpoint_path = names.back();
  const auto done = update_checkpoint_state(dir, state, catalog);
  REQUIRE_MESSAGE(done, refusal(done));
}

void remove_checkpoint(const path& prefix) {
  const std::string base = prefix.filename().string() + ".";
  std::vector<path> files;
  for (const auto& entry : test::fs::directory_iterator(prefix.parent_path()))
    if (entry.path().filename().string().starts_with(base)) files.push_back(entry.path());
  for (const path& file : files) test::fs::remove(file);
}

// Saves m-1 … m-N, each with its number, and lists them.
Names publish(const path& dir, int count) {
  Names names;
  for (int i = 1; i <= count; ++i) {
    names.push_back("m-" + std::to_string(i));
    save_number(dir / names.back(), i);
  }
  list(dir, names);
  return names;
}

Watcher watch(const path& dir, const WatcherOptions& options = {}) {
  auto watcher = Watcher::open(dir, options);
  REQUIRE_MESSAGE(watcher, refusal(watcher));
  return *std::move(watcher);
}

WatcherOptions with_cursor(std::string cursor) {
  WatcherOptions options;
  options.cursor = std::move(cursor);
  return options;
}

WatcherOptions with_poll(milliseconds poll) {
  WatcherOptions options;
  options.poll = poll;
  return options;
}

WatcherOptions only_latest() {
  WatcherOptions options;
  options.only_latest = true;
  return options;
}

Published next(Watcher& watcher, milliseconds timeout = milliseconds(0)) {
  auto published = watcher.next(timeout);
  REQUIRE_MESSAGE(published, refusal(published));
  return *std::move(published);
}

// Everything that is there, by bare name, and what was skipped on the way.
struct Drained {
  Names given;
  std::vector<SkippedCheckpoint> skipped;
};

Drained drain(Watcher& watcher) {
  Drained all;
  while (true) {
    const Published one = next(watcher);
    all.skipped.insert(all.skipped.end(), one.skipped.begin(), one.skipped.end());
    if (!one.prefix) return all;
    all.given.push_back(one.prefix->filename());
  }
}

// ---- Every checkpoint

TEST_CASE("every checkpoint comes once, in the catalog's order, however many at a time") {
  const Sandbox box;
  Watcher watcher = watch(box.root());
  CHECK(drain(watcher).given.empty());
  publish(box.root(), 1);
  CHECK(next(watcher).prefix == box / "m-1");
  publish(box.root(), 4);
  const Drained rest = drain(watcher);
  CHECK(rest.given == Names{"m-2", "m-3", "m-4"});
  CHECK(rest.skipped.empty());
}

TEST_CASE("the order is that of the catalog, not of names or times") {
  const Sandbox box;
  publish(box.root(), 4);
  list(box.root(), {"m-4", "m-2", "m-1", "m-3"});
  Watcher watcher = watch(box.root());
  CHECK(drain(watcher).given == Names{"m-4", "m-2", "m-1", "m-3"});
}

TEST_CASE("what TensorFlow published is given too") {
  Watcher watcher = watch(test::golden("tensorflow/saver_walk/saved"));
  CHECK(drain(watcher).given == Names{"train2-5", "train2-6", "train2-7", "train2-8", "train2-9"});
}

TEST_CASE("a catalog of another name is watched where that is asked for") {
  const Sandbox box;
  save_number(box / "m-1", 1);
  list(box.root(), {"m-1"}, "best");
  WatcherOptions options;
  options.latest_filename = "best";
  Watcher watcher = watch(box.root(), options);
  CHECK(drain(watcher).given == Names{"m-1"});
}

TEST_CASE("a prefix that is saved again with other contents is given again") {
  const Sandbox box;
  const Names names = publish(box.root(), 3);
  Watcher watcher = watch(box.root());
  drain(watcher);
  save_number(box / "m-3", 33);
  list(box.root(), names);
  CHECK(drain(watcher).given == Names{"m-3"});
  save_number(box / "m-1", 11);
  list(box.root(), {"m-2", "m-3", "m-1"});
  CHECK(drain(watcher).given == Names{"m-1"});
}

TEST_CASE("to save, copy, touch, import or list the same again is no news") {
  const Sandbox box;
  const Names names = publish(box.root(), 2);
  test::copy_checkpoint(test::golden("tensorflow/saver_walk/saved/train2-9"), box / "tf-9");
  list(box.root(), {"m-1", "m-2", "tf-9"});
  Watcher watcher = watch(box.root());
  CHECK(drain(watcher).given.size() == 3);
  save_number(box / "m-2", 2);
  list(box.root(), {"m-1", "tf-9", "m-2"});
  CHECK(drain(watcher).given.empty());
  for (const char* file : {"m-1.index", "m-1.cairn"})
    test::fs::last_write_time(box / file, test::fs::file_time_type::clock::now());
  list(box.root(), {"m-2", "tf-9", "m-1"});
  CHECK(drain(watcher).given.empty());
  REQUIRE(import_index(box / "tf-9"));
  CHECK(drain(watcher).given.empty());
  list(box.root(), {"m-1"});
  CHECK(drain(watcher).given.empty());
  list(box.root(), {"m-1", "m-2"});
  CHECK(drain(watcher).given.empty());

  const Sandbox elsewhere;
  test::fs::copy(box.root(), elsewhere / "copy", test::fs::copy_options::recursive);
  Watcher second = watch(elsewhere / "copy", with_cursor(watcher.cursor()));
  CHECK(drain(second).given.empty());
}

// ---- The cursor

TEST_CASE("a Watcher goes on behind a cursor, wherever it was taken") {
  const Sandbox box;
  const Names names = publish(box.root(), 5);
  Watcher whole = watch(box.root());
  for (std::size_t given = 0; given <= names.size(); ++given) {
    Watcher later = watch(box.root(), with_cursor(whole.cursor()));
    CHECK(later.cursor() == whole.cursor());
    CHECK(drain(later).given == Names(names.begin() + static_cast<int>(given), names.end()));
    next(whole);
  }
}

TEST_CASE("a cursor holds when the catalog has changed meanwhile") {
  const Sandbox box;
  publish(box.root(), 6);
  list(box.root(), {"m-1", "m-2", "m-3"});
  Watcher first = watch(box.root());
  drain(first);
  struct Case {
    Names listed;
    Names given;
  };
  const Case cases[] = {
      {{"m-3", "m-4", "m-5"}, {"m-4", "m-5"}},
      {{"m-5", "m-6"}, {"m-5", "m-6"}},  // what the cursor knows is gone
      {{"m-4", "m-3", "m-1"}, {"m-4"}},  // an old one is the latest again
      {{"m-1", "m-2", "m-3"}, {}},
      {{"m-6"}, {"m-6"}},
  };
  for (const Case& each : cases) {
    list(box.root(), each.listed);
    Watcher later = watch(box.root(), with_cursor(first.cursor()));
    CHECK(drain(later).given == each.given);
  }
}

TEST_CASE("a text that is no cursor, or one of the other mode, is refused") {
  const Sandbox box;
  publish(box.root(), 2);
  Watcher every = watch(box.root());
  drain(every);
  const std::string good = every.cursor();
  for (std::size_t size = 1; size < good.size(); ++size) {
    if (good[size - 1] == '\n') continue;  // the cursor of an earlier time
    INFO(size);
    CHECK_FALSE(Watcher::open(box.root(), with_cursor(good.substr(0, size))));
  }
  for (const std::string& bad : {std::string("m-1"), good + "x", good + "\n", good + "zz m-1\n"}) {
    INFO(bad);
    CHECK(has(refusal(Watcher::open(box.root(), with_cursor(bad))), "Invalid: "));
  }
  WatcherOptions options = only_latest();
  options.cursor = good;
  CHECK(has(refusal(Watcher::open(box.root(), options)), "Invalid: "));
  Watcher latest = watch(box.root(), only_latest());
  next(latest);
  CHECK_FALSE(Watcher::open(box.root(), with_cursor(latest.cursor())));
}

TEST_CASE("a cursor remembers the listed, and a bounded number of those that are not") {
  const Sandbox box;
  Names names;
  for (int i = 1; i <= 80; ++i) {
    names.push_back("m-" + std::to_string(i));
    test::copy_checkpoint(test::golden("tensorflow/saver_walk/saved/train1"), box / names.back());
  }
  list(box.root(), names);
  Watcher watcher = watch(box.root());
  CHECK(drain(watcher).given == names);
  CHECK(std::ranges::count(watcher.cursor(), '\n') == 1 + 80);
  save_number(box / "m-81", 81);
  list(box.root(), {"m-79", "m-81"});
  CHECK(drain(watcher).given == Names{"m-81"});
  CHECK(std::ranges::count(watcher.cursor(), '\n') == 1 + 64 + 2);
  CHECK(has(watcher.cursor(), " m-16\n"));
  CHECK_FALSE(has(watcher.cursor(), " m-15\n"));
}

TEST_CASE("whatever is published, in whatever order, is given once, over any number of restarts") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t bound) { return random() % bound; };
  const Sandbox box;
  Watcher watcher = watch(box.root());
  Names listed;
  std::map<std::string, std::int32_t> contents, given;
  std::int32_t number = 0;
  for (int round = 0; round < 60; ++round) {
    const std::string name = "m-" + std::to_string(below(12));
    if (std::erase(listed, name) == 0 || below(2) == 0) {
      save_number(box / name, ++number);
      contents[name] = number;
    }
    listed.push_back(name);
    while (listed.size() > 5) {
      if (below(2) == 0) remove_checkpoint(box / listed.front());
      listed.erase(listed.begin());
    }
    list(box.root(), listed);
    if (below(3) == 0) watcher = watch(box.root(), with_cursor(watcher.cursor()));
    Names expected;
    for (const std::string& each : listed) {
      if (std::exchange(given[each], contents[each]) != contents[each]) expected.push_back(each);
    }
    const Drained drained = drain(watcher);
    CHECK(drained.given == expected);
    CHECK(drained.skipped.empty());
  }
}

// ---- What is skipped

TEST_CASE("what was removed before its turn is named, and the order stays") {
  const Sandbox box;
  publish(box.root(), 4);
  Watcher watcher = watch(box.root());
  CHECK(next(watcher).prefix == box / "m-1");
  list(box.root(), {"m-4"});
  remove_checkpoint(box / "m-2");
  const Published third = next(watcher);
  CHECK(third.prefix == box / "m-3");  // retention has let go of it, and it is still there
  REQUIRE(third.skipped.size() == 1);
  CHECK(third.skipped[0].prefix == box / "m-2");
  CHECK(has(third.skipped[0].why, "m-2: was removed before its turn"));
  const Drained rest = drain(watcher);
  CHECK(rest.given == Names{"m-4"});
  CHECK(rest.skipped.empty());
}

TEST_CASE("an older entry that is not whole is skipped at once, named once, given when whole") {
  const Sandbox box;
  const Names names = publish(box.root(), 3);
  const path shard = box / "m-2.data-00000-of-00001";
  const std::string bytes = test::read_file(shard);
  test::write_file(shard, bytes.substr(0, bytes.size() - 1));
  Watcher watcher = watch(box.root());
  const Drained all = drain(watcher);
  CHECK(all.given == Names{"m-1", "m-3"});
  REQUIRE(all.skipped.size() == 1);
  CHECK(all.skipped[0].prefix == box / "m-2");
  CHECK(has(all.skipped[0].why, "m-2.data-00000-of-00001: has "));
  list(box.root(), names);
  CHECK(drain(watcher).skipped.empty());
  test::write_file(shard, bytes);
  CHECK(drain(watcher).given == Names{"m-2"});
}

TEST_CASE("an entry that leads outside of the directory is skipped") {
  const Sandbox box;
  publish(box.root(), 1);
  test::fs::create_directory(box / "dir");
  save_number(box / "dir/m-2", 2);
  list(box / "dir", {"../m-1", "m-2"});
  Watcher watcher = watch(box / "dir");
  const Drained all = drain(watcher);
  CHECK(all.given == Names{"m-2"});
  REQUIRE(all.skipped.size() == 1);
  CHECK(has(all.skipped[0].why, "outside its directory"));
}

TEST_CASE("the newest entry is waited for while it may become whole") {
  const Sandbox box;
  publish(box.root(), 2);
  const path shard = box / "m-2.data-00000-of-00001";
  test::fs::rename(shard, box / "late");
  WatcherOptions options = with_poll(milliseconds(10'000));
  Watcher watcher = watch(box.root(), options);
  CHECK(drain(watcher).given == Names{"m-1"});
  CHECK(drain(watcher).skipped.empty());
  test::fs::rename(box / "late", shard);
  const Drained rest = drain(watcher);
  CHECK(rest.given == Names{"m-2"});
  CHECK(rest.skipped.empty());
}

TEST_CASE("while the newest entry is not whole, one looks again without being woken") {
  const Sandbox box;
  publish(box.root(), 1);
  const path shard = box / "m-1.data-00000-of-00001";
  test::fs::rename(shard, box / "late");
  // Named after 10 polls if it has not come until then.
  Watcher watcher = watch(box.root(), with_poll(milliseconds(100)));
  std::jthread writer([&] {
    std::this_thread::sleep_for(milliseconds(50));
    test::fs::rename(box / "late", shard);
  });
  CHECK(next(watcher, kLong).prefix == box / "m-1");
}

TEST_CASE("the newest entry is skipped when it does not become whole, and given when it does") {
  const Sandbox box;
  publish(box.root(), 1);
  const path shard = box / "m-1.data-00000-of-00001";
  test::fs::rename(shard, box / "late");
  Watcher watcher = watch(box.root(), with_poll(milliseconds(1)));
  std::vector<SkippedCheckpoint> skipped;
  while (skipped.empty()) skipped = next(watcher, milliseconds(20)).skipped;
  REQUIRE(skipped.size() == 1);
  CHECK(skipped[0].prefix == box / "m-1");
  CHECK(next(watcher, milliseconds(20)).skipped.empty());
  test::fs::rename(box / "late", shard);
  CHECK(next(watcher, kLong).prefix == box / "m-1");
}

// ---- The latest only

TEST_CASE("with only_latest the latest is given when its path is another, and nothing else") {
  const Sandbox box;
  const Names names = publish(box.root(), 3);
  Watcher watcher = watch(box.root(), only_latest());
  CHECK(drain(watcher).given == Names{"m-3"});
  save_number(box / "m-3", 33);
  list(box.root(), names);
  CHECK(drain(watcher).given.empty());  // the same path
  list(box.root(), {"m-3", "m-2"});
  CHECK(drain(watcher).given == Names{"m-2"});
  WatcherOptions options = only_latest();
  options.cursor = watcher.cursor();
  Watcher later = watch(box.root(), options);
  CHECK(drain(later).given.empty());
  list(box.root(), {"m-2", "m-4"});
  CHECK(drain(later).given.empty());  // its files are not there
  test::write_file(box / "m-4.index", "no index");
  CHECK(drain(later).given == Names{"m-4"});  // TensorFlow looks no closer
}

// ---- Waiting

TEST_CASE("a directory that is not there yet is waited for") {
  const Sandbox box;
  Watcher watcher = watch(box / "a/b", with_poll(milliseconds(5)));
  std::jthread writer([&] {
    std::this_thread::sleep_for(milliseconds(30));
    test::fs::create_directories(box / "a/b");
    std::this_thread::sleep_for(milliseconds(30));
    publish(box / "a/b", 1);
  });
  CHECK(next(watcher, kLong).prefix == box / "a/b/m-1");
}

TEST_CASE("inotify wakes the Watcher, by a rename and by a catalog written in place") {
  const Sandbox box;
  os::NameWatch probe(box.root(), "x");
  probe.attach();
  if (!probe.sees_all()) {
    MESSAGE("skipped: the temporary directory is on no file system that is known to be local");
    return;
  }
  publish(box.root(), 2);
  const std::string catalog = test::read_file(box / "checkpoint");
  list(box.root(), {"m-1"});
  Watcher watcher = watch(box.root(), with_poll(kNever));
  CHECK(next(watcher).prefix == box / "m-1");
  std::jthread writer([&] {
    std::this_thread::sleep_for(milliseconds(30));
    std::ofstream(box / "checkpoint") << catalog;
  });
  CHECK(next(watcher, kLong).prefix == box / "m-2");
  writer = std::jthread([&] {
    save_number(box / "m-3", 3);
    list(box.root(), {"m-2", "m-3"});
  });
  CHECK(next(watcher, kLong).prefix == box / "m-3");
}

// A Watcher as on a machine that has no inotify instance left.
Watcher watch_without_inotify(const path& dir, const WatcherOptions& options) {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none = before;
  none.rlim_cur = 0;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  auto watcher = Watcher::open(dir, options);
  ::setrlimit(RLIMIT_NOFILE, &before);
  REQUIRE_MESSAGE(watcher, refusal(watcher));
  for (const auto& entry : test::fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    CHECK_FALSE(has(test::fs::read_symlink(entry, gone).string(), "inotify"));
  }
  return *std::move(watcher);
}

TEST_CASE("without inotify the Watcher polls") {
  const Sandbox box;
  Watcher watcher = watch_without_inotify(box.root(), with_poll(milliseconds(5)));
  std::jthread writer([&] {
    std::this_thread::sleep_for(milliseconds(30));
    publish(box.root(), 1);
  });
  CHECK(next(watcher, kLong).prefix == box / "m-1");
}

// How many times this thread has read from a file.
std::uint64_t read_count() { return test::io_counts("/proc/thread-self/io").calls; }

TEST_CASE("an idle Watcher looks once in a poll, and not at all where inotify tells everything") {
  if (read_count() == 0) {
    MESSAGE("skipped: the kernel does not count reads");
    return;
  }
  const Sandbox box;
  publish(box.root(), 3);
  const auto reads = [](auto&& act) {
    const std::uint64_t before = read_count();
    act();
    return read_count() - before;
  };
  const std::uint64_t counting = reads([] {});
  Watcher polling = watch_without_inotify(box.root(), with_poll(milliseconds(100)));
  drain(polling);
  const std::uint64_t look = reads([&] { next(polling); }) - counting;
  REQUIRE(look > 0);
  const auto idle = [&](Watcher& watcher) {
    return reads([&] { next(watcher, milliseconds(500)); }) - counting;
  };
  CHECK(idle(polling) <= 7 * look);
  // More looks would be seen.
  CHECK(reads([&] {
          for (int i = 0; i < 8; ++i) next(polling);
        }) > 7 * look + counting);

  os::NameWatch probe(box.root(), "x");
  probe.attach();
  if (!probe.sees_all()) return;
  Watcher woken = watch(box.root(), with_poll(milliseconds(100)));
  drain(woken);
  CHECK(idle(woken) <= 3 * look);
}

TEST_CASE("a stop wakes the Watcher, and nothing is lost") {
  const Sandbox box;
  Watcher watcher = watch(box.root(), with_poll(kNever));
  std::stop_source stop;
  std::jthread other([&] {
    std::this_thread::sleep_for(milliseconds(30));
    stop.request_stop();
  });
  CHECK(has(refusal(watcher.next(milliseconds::max(), stop.get_token())), "Cancelled: "));
  publish(box.root(), 1);
  CHECK(has(refusal(watcher.next(kLong, stop.get_token())), "Cancelled: "));
  CHECK(drain(watcher).given == Names{"m-1"});
}

TEST_CASE("a catalog that is met half written is read again") {
  const Sandbox box;
  publish(box.root(), 2);
  const std::string catalog = test::read_file(box / "checkpoint");
  Watcher watcher = watch(box.root(), with_poll(milliseconds(10'000)));
  test::write_file(box / "checkpoint", "");
  std::jthread writer([&] {
    std::this_thread::sleep_for(milliseconds(30));
    std::ofstream(box / "checkpoint") << catalog;
  });
  CHECK(next(watcher, kLong).prefix == box / "m-1");
}

TEST_CASE("a catalog that stays unreadable is an error, and the next call tries again") {
  const Sandbox box;
  const Names names = publish(box.root(), 1);
  test::write_file(box / "checkpoint", "nonsense");
  Watcher watcher = watch(box.root(), with_poll(milliseconds(1)));
  CHECK(has(refusal(watcher.next(milliseconds(0))), "Corrupt: "));
  CHECK(has(refusal(watcher.next(kLong)), "Corrupt: "));
  list(box.root(), names);
  CHECK(drain(watcher).given == names);
}

TEST_CASE("options that make no sense are refused") {
  const Sandbox box;
  for (const milliseconds poll : {milliseconds(0), milliseconds(-1), milliseconds::max()})
    CHECK(has(refusal(Watcher::open(box.root(), with_poll(poll))), "Invalid: "));
  for (const char* name : {"", "a/b", "/checkpoint"}) {
    WatcherOptions options;
    options.latest_filename = name;
    CHECK(has(refusal(Watcher::open(box.root(), options)), "Invalid: "));
  }
}

}  // namespace
}  // namespace cairn
