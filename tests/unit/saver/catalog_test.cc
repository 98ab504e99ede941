#include <doctest/doctest.h>

#include <chrono>
#include <functional>
#include <limits>
#include <optional>
#include <thread>

#include "lib/write/lock.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::Values;
using test::write_file;
using test::fs::path;

Values numbered(std::int32_t number) { return {{"v", test::int_scalar(number)}}; }

void save_numbered(const path& prefix, std::int32_t number) {
  test::save(prefix, {numbered(number)});
}

// A catalog as TensorFlow writes it, the latest last.
void write_catalog(const path& dir, const std::vector<std::string>& paths) {
  std::string text = "model_checkpoint_path: \"" + paths.back() + "\"\n";
  for (const std::string& each : paths) text += "all_model_checkpoint_paths: \"" + each + "\"\n";
  write_file(dir / "checkpoint", text);
}

CheckpointState state_of(std::vector<path> paths) {
  CheckpointState state;
  state.model_checkpoint_path = paths.back();
  state.all_model_checkpoint_paths = std::move(paths);
  return state;
}

CheckpointState get(const path& dir) {
  const auto state = get_checkpoint_state(dir);
  REQUIRE_MESSAGE(state, refusal(state));
  REQUIRE(state->has_value());
  return **state;
}

ListedCheckpoint only_listed(const path& dir) {
  const auto listed = listed_checkpoints(dir);
  REQUIRE_MESSAGE(listed, refusal(listed));
  REQUIRE(listed->size() == 1);
  return listed->front();
}

// ---- From another system

TEST_CASE("a catalog from Windows leads to the checkpoint beside it") {
  for (const std::string name :
       {R"(C:\\Users\\u\\m\\model_1)", R"(.\\model_1)", R"(..\\m\\model_1)", R"(sub\\model_1)",
        R"(\\\\server\\share\\model_1)", R"(C:/Users/u/model_1)"}) {
    CAPTURE(name);
    Sandbox box;
    for (int i = 0; i < 2; ++i) save_numbered(box / ("model_" + std::to_string(i)), i);
    write_catalog(box.root(), {name});
    const auto opened = Checkpoint::open(box.root());
    REQUIRE_MESSAGE(opened, refusal(opened));
    CHECK(*test::values_of(*opened) == numbered(1));
    CHECK(opened->prefix() == box / "model_1");
    REQUIRE(opened->warnings().size() == 1);
    CHECK(
        has(opened->warnings()[0], "model_1, in the directory of the catalog, was opened instead"));
    CHECK(latest_whole(box.root())->prefix == box / "model_1");
    CHECK(only_listed(box.root()).opens_as == box / "model_1");

    auto watcher = Watcher::open(box.root());
    REQUIRE(watcher);
    CHECK(watcher->next(std::chrono::milliseconds(0))->prefix == box / "model_1");

    auto saver = Saver::open(box.root(), {.keep_any_of = {Retention::newest(1)}});
    REQUIRE(saver);
    const std::int32_t number = 2;
    const NamedTensor tensor{{"v", DType::Int32, {}}, std::as_bytes(std::span(&number, 1)), {}};
    const auto saved = saver->save("model_2", std::span(&tensor, 1));
    REQUIRE_MESSAGE(saved, refusal(saved));
    CHECK(saved->deleted == std::vector<path>{box / "model_1"});
    CHECK(Checkpoint::open(box / "model_0"));
  }
}

TEST_CASE("a backslash in a name that is there is a character as any other") {
  Sandbox box;
  save_numbered(box / R"(a\b)", 1);
  save_numbered(box / "b", 2);
  write_catalog(box.root(), {R"(a\\b)"});
  CHECK(*test::values_at(box.root()) == numbered(1));
  CHECK(only_listed(box.root()).opens_as == box / R"(a\b)");
}

TEST_CASE("a checkpoint in a folder of the catalog's directory is inside") {
  Sandbox box;
  save_numbered(box / "sub/model_1", 1);
  write_catalog(box.root(), {"sub/model_1"});
  const auto opened = Checkpoint::open(box.root());
  REQUIRE_MESSAGE(opened, refusal(opened));
  CHECK(opened->warnings().empty());
  CHECK(latest_whole(box.root())->prefix == box / "sub/model_1");
  CHECK(only_listed(box.root()).opens_as == box / "sub/model_1");
  write_catalog(box.root(), {"sub/../../model_1"});
  CHECK(has(only_listed(box.root()).why, "is outside its directory"));
}

// ---- Writing

TEST_CASE("paths are written by TensorFlow's rules, relative to a relative directory") {
  struct Case {
    const char* dir;
    const char* path;
    const char* written;
  };
  // Each as os.path.relpath(path, dir) gives it, with a/b as the working directory.
  const Case cases[] = {
      {"saved", "saved/m-1", "m-1"},
      {"saved", "saved/../saved/m-1", "m-1"},
      {"saved", "other/m-1", "../other/m-1"},
      {"saved/", "saved/m-1", "m-1"},
      {"./saved", "saved/m-1", "m-1"},
      {"saved", "m-1", "../m-1"},
      {".", "m-1", "m-1"},
      {"", "m-1", "m-1"},
      {".", "saved/m-1", "saved/m-1"},
      {"..", "m-1", "b/m-1"},
      {"..", "../m-1", "m-1"},
      {"../b/saved", "saved/m-1", "m-1"},
      {"../c", "m-1", "../b/m-1"},
      {"saved", "/abs/m-1", "/abs/m-1"},
      {"saved", "saved//m-1", "m-1"},
      {"saved", "saved/m 1\"", "m 1\\\""},
  };
  Sandbox box;
  test::fs::create_directories(box / "a/b/saved");
  test::fs::create_directories(box / "a/c");
  const test::WorkingDirectory here(box / "a/b");
  for (const Case& each : cases) {
    INFO("dir ", std::string(each.dir), ", path ", std::string(each.path));
    const auto done = update_checkpoint_state(each.dir, state_of({each.path}));
    REQUIRE_MESSAGE(done, refusal(done));
    const std::string quoted = ": \"" + std::string(each.written) + "\"\n";
    CHECK(test::read_file(path(each.dir) / "checkpoint") ==
          "model_checkpoint_path" + quoted + "all_model_checkpoint_paths" + quoted);
  }
}

TEST_CASE("in an absolute directory paths are written as they are given") {
  Sandbox box;
  for (const std::string given : {"m-1", "rel/m-2", "../x/m-3", "/abs/m-4"}) {
    REQUIRE(update_checkpoint_state(box.root(), state_of({given})));
    CHECK(has(test::read_file(box / "checkpoint"), "model_checkpoint_path: \"" + given + "\"\n"));
  }
}

TEST_CASE("what was written comes back, relative paths joined to the directory") {
  Sandbox box;
  CheckpointState state = state_of({"m-1", "../x/m-2", "/abs/m-3"});
  state.all_model_checkpoint_timestamps_s = {1700000000.1234567, 1e-7,
                                             std::numeric_limits<double>::infinity()};
  state.last_preserved_timestamp_s = 3.5;
  REQUIRE(update_checkpoint_state(box.root(), state));
  const CheckpointState back = get(box.root());
  CHECK(back.model_checkpoint_path == "/abs/m-3");
  CHECK(back.all_model_checkpoint_paths ==
        std::vector<path>{box / "m-1", box / "../x/m-2", "/abs/m-3"});
  CHECK(back.all_model_checkpoint_timestamps_s == state.all_model_checkpoint_timestamps_s);
  CHECK(back.last_preserved_timestamp_s == 3.5);
}

TEST_CASE("a catalog that TensorFlow wrote is written again byte for byte") {
  for (const char* folder : {"saver_walk/saved", "tf2_manager/tf_ckpts", "sharded"}) {
    INFO(folder);
    const path dir = test::golden("tensorflow") / folder;
    CheckpointState state = get(dir);
    const auto bare = [&](path& each) { each = each.lexically_relative(dir); };
    bare(state.model_checkpoint_path);
    for (path& each : state.all_model_checkpoint_paths) bare(each);
    Sandbox box;
    REQUIRE(update_checkpoint_state(box.root(), state));
    CHECK(test::read_file(box / "checkpoint") == test::read_file(dir / "checkpoint"));
  }
}

TEST_CASE("the latest is added at the end where it is not the last") {
  Sandbox box;
  CheckpointState state = state_of({"m-1", "m-2"});
  state.model_checkpoint_path = "m-1";
  REQUIRE(update_checkpoint_state(box.root(), state));
  CHECK(get(box.root()).all_model_checkpoint_paths ==
        std::vector<path>{box / "m-1", box / "m-2", box / "m-1"});
}

TEST_CASE("a catalog that TensorFlow could not read is refused before a byte is written") {
  Sandbox box;
  write_file(box / "checkpoint", "before");
  const auto check_refused = [&](const CheckpointState& state, std::string_view why) {
    const std::string said = refusal(update_checkpoint_state(box.root(), state));
    INFO(said);
    CHECK(said.starts_with("Invalid: "));
    CHECK(has(said, why));
    CHECK(test::read_file(box / "checkpoint") == "before");
  };
  CheckpointState stamped = state_of({"m-1", "m-2"});
  stamped.all_model_checkpoint_timestamps_s = {1};
  check_refused(stamped, "1 timestamps for 2 checkpoints");
  stamped.all_model_checkpoint_timestamps_s = {1, 2};
  stamped.model_checkpoint_path = "m-3";
  check_refused(stamped, "has no timestamp");
  check_refused(state_of({""}), "needs a latest checkpoint");
  check_refused(state_of({"checkpoint"}), "would have the name of the catalog");
  check_refused(state_of({box / "checkpoint"}), "would have the name of the catalog");
  check_refused(state_of({"caf\xe9-1"}), "UTF-8");
  check_refused(state_of({"\xff", "m-1"}), "UTF-8");
}

TEST_CASE("a catalog is replaced in one step, and nothing but the lock's file is left") {
  Sandbox box;
  write_file(box / "checkpoint", "before");
  test::fs::create_hard_link(box / "checkpoint", box / "reader");
  REQUIRE(update_checkpoint_state(box.root(), state_of({"m-1"})));
  CHECK(test::read_file(box / "reader") == "before");
  const test::Files left = test::read_files(box.root());
  CHECK(left.size() == 2);
  CHECK(test::fs::exists(box / ".cairn-lock"));
  CHECK(has(refusal(update_checkpoint_state(box / "none", state_of({"m"}))), "NotFound: "));
}

TEST_CASE("what many make the latest at the same time is all listed") {
  Sandbox box;
  for (int i = 0; i < 400; ++i) test::write_file(box / ("m-" + std::to_string(i) + ".index"), "");
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 25; ++i) {
        const auto done =
            set_latest_checkpoint(box.root(), box / ("m-" + std::to_string(100 * thread + i)));
        if (!done) throw std::runtime_error(done.error().what);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const CheckpointState state = get(box.root());
  CHECK(state.all_model_checkpoint_paths.size() == 100);
  CHECK(state.all_model_checkpoint_timestamps_s.size() == 100);
  REQUIRE(set_latest_checkpoint(box.root(), state.all_model_checkpoint_paths.front()));
  const CheckpointState after = get(box.root());
  CHECK(after.all_model_checkpoint_paths.size() == 100);
  CHECK(after.model_checkpoint_path == state.all_model_checkpoint_paths.front());
  CHECK(after.all_model_checkpoint_timestamps_s.back() ==
        state.all_model_checkpoint_timestamps_s.front());
}

TEST_CASE("what is not there is not made the latest, and the catalog stays") {
  Sandbox box;
  test::write_file(box / "m-1.index", "");
  REQUIRE(set_latest_checkpoint(box.root(), box / "m-1"));
  for (const path& gone : {box / "m-2", path("m-2"), box / "none/m-1"}) {
    CHECK(has(refusal(set_latest_checkpoint(box.root(), gone)), "NotFound: "));
    CHECK(get(box.root()).model_checkpoint_path == box / "m-1");
    CHECK(get(box.root()).all_model_checkpoint_paths.size() == 1);
  }
  REQUIRE(set_latest_checkpoint(box.root(), "m-1"));
}

TEST_CASE("who changes a catalog waits as long as he is told while another writes there") {
  Sandbox box;
  write_file(box / "m-1.index", "");
  const std::vector<std::function<std::string(std::chrono::milliseconds)>> ways{
      [&](auto wait) {
        return refusal(update_checkpoint_state(box.root(), state_of({"m-1"}), "checkpoint", wait));
      },
      [&](auto wait) {
        return refusal(set_latest_checkpoint(box.root(), "m-1", "checkpoint", wait));
      },
      [&](auto wait) {
        RepairOptions options;
        options.lock_wait = wait;
        return refusal(repair_catalog(box.root(), "checkpoint", options));
      }};
  const auto directory = os::Directory::open(box.root());
  REQUIRE(directory);
  for (const auto& change : ways) {
    auto taken = internal::Lock::of_directory(*directory, {});
    REQUIRE(taken);
    std::optional<internal::Lock> lock(*std::move(taken));
    CHECK(has(change(std::chrono::milliseconds(0)), "waited 0 ms"));
    CHECK(has(change(std::chrono::milliseconds(20)), "Busy: "));
    std::thread holder([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      lock.reset();
    });
    CHECK(change(std::chrono::milliseconds::max()) == "opened");
    holder.join();
  }
}

TEST_CASE("a directory whose path has a NUL byte is refused, and not the one before that byte") {
  Sandbox box;
  save_numbered(box / "m-1", 1);
  write_catalog(box.root(), {"m-1"});
  const path dir = box.root().native() + std::string("\0x", 2);
  CHECK(has(refusal(latest_checkpoint(dir)), "Invalid: "));
  CHECK(has(refusal(get_checkpoint_state(dir)), "cannot contain a NUL byte"));
  CHECK(has(refusal(set_latest_checkpoint(dir, "m-1")), "cannot contain a NUL byte"));
  CHECK(has(refusal(Saver::open(dir)), "cannot contain a NUL byte"));
  CHECK(has(refusal(Watcher::open(dir)), "cannot contain a NUL byte"));
}

TEST_CASE("a catalog may have another name") {
  Sandbox box;
  REQUIRE(update_checkpoint_state(box.root(), state_of({"m-1"}), "best"));
  CHECK(get_checkpoint_state(box.root(), "best")->value().model_checkpoint_path == box / "m-1");
  CHECK_FALSE(get_checkpoint_state(box.root())->has_value());
  CHECK(has(refusal(update_checkpoint_state(box.root(), state_of({"best"}), "best")), "Invalid: "));
}

// ---- Reading

TEST_CASE("no directory and no file is no catalog") {
  Sandbox box;
  write_file(box / "file", "");
  for (const path& dir : {box.root(), box / "none", box / "file"}) {
    const auto state = get_checkpoint_state(dir);
    REQUIRE_MESSAGE(state, refusal(state));
    CHECK_FALSE(state->has_value());
    CHECK_FALSE(latest_checkpoint(dir)->has_value());
    CHECK_FALSE(latest_whole(dir)->prefix.has_value());
  }
}

TEST_CASE("a malformed catalog is corrupt, with line and column") {
  Sandbox box;
  const std::pair<const char*, const char*> cases[] = {
      {"model_checkpoint_path: \"m\"\nnonsense: 3\n", "line 2"},
      {"model_checkpoint_path \"m\"\n", "line 1"},
      {"\n\nmodel_checkpoint_path: \"m\n", "line 3"},
      {"\xef\xbb\xbfmodel_checkpoint_path: \"m\"\n", "line 1"},
      {"model_checkpoint_path: \"\xff\"\n", "line 1"},
  };
  for (const auto& [text, line] : cases) {
    write_file(box / "checkpoint", text);
    for (const std::string& said :
         {refusal(get_checkpoint_state(box.root())), refusal(latest_checkpoint(box.root())),
          refusal(latest_whole(box.root())), refusal(Checkpoint::open(box.root()))}) {
      INFO(said);
      CHECK(said.starts_with("Corrupt: " + (box / "checkpoint").string()));
      CHECK(has(said, line));
      CHECK(has(said, "column"));
    }
  }
  write_file(box / "checkpoint", "");
  CHECK(has(refusal(get_checkpoint_state(box.root())), "names no latest checkpoint"));
}

// ---- Which is the latest

TEST_CASE("the latest checkpoint is what the catalog names, if an index or a V1 file is there") {
  CHECK(latest_checkpoint(test::golden("tensorflow/saver_walk/saved"))->value() ==
        test::golden("tensorflow/saver_walk/saved/train2-9"));
  CHECK(latest_checkpoint(test::golden("tensorflow/v1"))->value() ==
        test::golden("tensorflow/v1/old.ckpt-3"));
  Sandbox box;
  test::save(box / "own", {numbered(1), {}, {}, {.tensorflow_index = false}});
  write_catalog(box.root(), {"own"});
  CHECK(latest_checkpoint(box.root())->value() == box / "own");
  save_numbered(box / "m-1", 1);
  write_catalog(box.root(), {"m-1", "m-2"});
  CHECK_FALSE(latest_checkpoint(box.root())->has_value());
  write_file(box / "m-2.data-00000-of-00001", "");
  CHECK_FALSE(latest_checkpoint(box.root())->has_value());
}

TEST_CASE("the newest whole checkpoint is found, with why each newer one is not") {
  Sandbox box;
  std::vector<std::string> names;
  for (std::int32_t i = 1; i <= 6; ++i) {
    names.push_back("m-" + std::to_string(i));
    save_numbered(box / names.back(), i);
  }
  write_catalog(box.root(), names);
  CHECK(latest_whole(box.root())->prefix == box / "m-6");
  test::fs::remove(box / "m-6.data-00000-of-00001");
  test::fs::remove(box / "m-5.cairn");
  test::fs::remove(box / "m-5.index");
  test::fs::resize_file(box / "m-4.data-00000-of-00001", 5000 - 4096);
  std::string index = test::read_file(box / "m-3.cairn");
  index[100] ^= 1;
  write_file(box / "m-3.cairn", index);
  const auto found = latest_whole(box.root());
  REQUIRE_MESSAGE(found, refusal(found));
  CHECK(found->prefix == box / "m-2");
  const std::pair<const char*, const char*> expected[] = {
      {"m-6", "m-6.data-00000-of-00001: cannot open: No such file"},
      {"m-5", "has shards, but neither m-5.cairn nor m-5.index"},
      {"m-4", "m-4.data-00000-of-00001: has 904 bytes, but m-4.cairn records"},
      {"m-3", "m-3.cairn: byte "}};
  REQUIRE(found->skipped.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(found->skipped[i].prefix == box / expected[i].first);
    INFO(found->skipped[i].why);
    CHECK(has(found->skipped[i].why, expected[i].second));
  }
}

TEST_CASE("each way of not being whole is skipped with its reason") {
  constexpr const char* kShard = ".data-00000-of-00001";
  Sandbox box;
  for (std::int32_t i = 1; i <= 2; ++i) save_numbered(box / ("m-" + std::to_string(i)), i);
  write_catalog(box.root(), {"m-1", "m-2"});
  const test::Files whole = test::read_files(box.root());
  std::string damaged = whole.at("m-2.index");
  damaged[20] ^= 1;
  struct Case {
    std::vector<const char*> removed;
    std::vector<std::pair<const char*, std::string>> written;
    const char* why;
  };
  const Case cases[] = {
      {{".index", ".cairn", kShard}, {}, "no checkpoint there"},
      {{".index", ".cairn"}, {}, "has shards, but neither"},
      {{kShard}, {}, "cannot open: No such file"},
      {{".cairn", kShard}, {}, "cannot open: No such file"},
      {{".index", kShard}, {}, "m-2.cairn is a leftover of a checkpoint that was removed"},
      {{}, {{kShard, ""}}, "has 0 bytes, but m-2.cairn records"},
      {{},
       {{kShard, whole.at("m-2.data-00000-of-00001") + "x"}},
       "is truncated, or it is a different file"},
      {{".cairn"}, {{kShard, "x"}}, "has 1 bytes, but tensor"},
      {{}, {{".cairn", whole.at("m-2.cairn").substr(0, 100)}}, "m-2.cairn: byte "},
      {{}, {{".cairn", ""}}, "m-2.cairn: byte "},
      {{".cairn"}, {{".index", damaged}}, "m-2.index: byte "},
      {{".cairn"}, {{".index", ""}}, "m-2.index: byte "},
  };
  for (const Case& each : cases) {
    INFO(each.why);
    test::write_files(box.root(), whole);
    const std::string prefix = box / "m-2";
    for (const char* suffix : each.removed) test::fs::remove(prefix + suffix);
    for (const auto& [suffix, bytes] : each.written) write_file(prefix + suffix, bytes);
    const auto found = latest_whole(box.root());
    REQUIRE_MESSAGE(found, refusal(found));
    CHECK(found->prefix == box / "m-1");
    REQUIRE(found->skipped.size() == 1);
    CHECK(found->skipped[0].prefix == box / "m-2");
    INFO(found->skipped[0].why);
    CHECK(has(found->skipped[0].why, each.why));
  }
}

TEST_CASE("a checkpoint is whole as long as one of its indexes speaks for shards that are there") {
  for (const char* gone : {".index", ".cairn"}) {
    INFO("without ", gone);
    Sandbox box;
    save_numbered(box / "m-1", 1);
    write_catalog(box.root(), {"m-1"});
    test::fs::remove((box / "m-1").string() + gone);
    CHECK(latest_whole(box.root())->prefix == box / "m-1");
  }
}

TEST_CASE("open never falls back to older values: it names the newest whole checkpoint") {
  Sandbox box;
  for (std::int32_t i = 1; i <= 2; ++i) save_numbered(box / ("m-" + std::to_string(i)), i);
  write_catalog(box.root(), {"m-1", "m-2"});
  test::fs::remove(box / "m-2.data-00000-of-00001");
  for (const path& given : {box.root(), box / "checkpoint"}) {
    const std::string said = refusal(Checkpoint::open(given));
    INFO(said);
    CHECK(has(said, "m-2.data-00000-of-00001: cannot open"));
    CHECK(has(said, "; the newest whole checkpoint is " + (box / "m-1").string()));
  }
  test::fs::remove(box / "m-2.index");
  test::fs::remove(box / "m-2.cairn");
  std::string said = refusal(Checkpoint::open(box.root()));
  CHECK(has(said, "its latest checkpoint " + (box / "m-2").string() + " does not exist"));
  CHECK(has(said, "; the newest whole checkpoint is " + (box / "m-1").string()));
  test::fs::remove(box / "m-1.index");
  test::fs::remove(box / "m-1.cairn");
  said = refusal(Checkpoint::open(box.root()));
  CHECK(has(said, "the catalog names no other checkpoint that is whole"));
}

TEST_CASE("a latest checkpoint outside names the newest whole one of its own catalog") {
  Sandbox box;
  save_numbered(box / "in/m-1", 1);
  save_numbered(box / "out/m-2", 2);
  save_numbered(box / "out/m-3", 3);
  write_catalog(box / "out", {"m-3"});
  write_catalog(box / "in", {"m-1", "../out/m-2"});
  test::fs::remove(box / "out/m-2.data-00000-of-00001");
  OpenOptions options;
  options.follow_links = true;
  const std::string said = refusal(Checkpoint::open(box / "in", options));
  INFO(said);
  CHECK(has(said, "the newest whole checkpoint is " + (box / "in/m-1").string()));
}

// ---- Where entries may lead

TEST_CASE("after the directory moved, the same name beside the catalog opens, with a warning") {
  Sandbox box;
  save_numbered(box / "m-1", 1);
  for (const std::string gone : {"/gone/long/ago/m-1", "../gone/m-1", "saved/m-1"}) {
    write_catalog(box.root(), {gone});
    const auto checkpoint = Checkpoint::open(box.root());
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->prefix() == box / "m-1");
    REQUIRE(checkpoint->warnings().size() == 1);
    CHECK(has(checkpoint->warnings()[0], "m-1 is gone; "));
    CHECK(latest_whole(box.root())->prefix == box / "m-1");
  }
}

TEST_CASE("an entry outside of the directory is unsafe, unless links are followed") {
  Sandbox box;
  save_numbered(box / "out/m-2", 2);
  save_numbered(box / "in/sub/m-3", 3);
  save_numbered(box / "in/m-2", 1);  // the same name beside the catalog is not what it names
  for (const std::string& entry : {std::string("../out/m-2"), (box / "out/m-2").string()}) {
    write_catalog(box / "in", {entry});
    const std::string said = refusal(Checkpoint::open(box / "in"));
    INFO(said);
    CHECK(said.starts_with("Unsafe: " + (box / "in/checkpoint").string()));
    CHECK(has(said, "outside its directory"));
    OpenOptions options;
    options.follow_links = true;
    CHECK(*test::values_at(box / "in", options) == numbered(2));
    const auto whole = latest_whole(box / "in");
    CHECK_FALSE(whole->prefix);
    REQUIRE(whole->skipped.size() == 1);
    CHECK(has(whole->skipped[0].why, "outside its directory"));
  }
}

TEST_CASE("the same directory is inside, however it is spelt") {
  Sandbox box;
  save_numbered(box / "dir/m-1", 1);
  test::fs::create_directory_symlink(box / "dir", box / "link");
  const test::WorkingDirectory here(box.root());
  const std::vector<std::string> entries{"m-1",
                                         "../dir/m-1",
                                         "./m-1",
                                         "../link/m-1",
                                         (box / "dir/m-1").string(),
                                         (box / "link/m-1").string(),
                                         (box / "dir/../dir/m-1").string()};
  for (const std::string& entry : entries) {
    write_catalog(box / "dir", {entry});
    for (const path& given : {box / "dir", box / "link", path("dir"), path("link/../dir"),
                              path("./dir/"), path("dir/checkpoint")}) {
      INFO("entry ", entry, ", given ", given.string());
      const auto checkpoint = Checkpoint::open(given);
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(checkpoint->warnings().empty());
      CHECK(*test::values_of(*checkpoint) == numbered(1));
    }
  }
}

TEST_CASE("a catalog that names itself or a directory is refused") {
  Sandbox box;
  test::fs::create_directories(box / "sub");
  write_file(box / "sub/checkpoint", "model_checkpoint_path: \"m\"\n");
  for (const std::string name : {"checkpoint", ".", "..", "sub", "m\\000x", "/"}) {
    INFO(name);
    write_catalog(box.root(), {name});
    const std::string said = refusal(Checkpoint::open(box.root()));
    INFO(said);
    CHECK(said != "opened");
    CHECK(latest_whole(box.root()));
  }
}

}  // namespace
}  // namespace cairn
