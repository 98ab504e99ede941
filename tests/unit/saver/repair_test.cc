#include <doctest/doctest.h>

#include "lib/open/load.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::write_file;
using test::fs::path;
using Names = std::vector<std::string>;

// A checkpoint of TensorFlow's, saved at this second: its files say so, and nothing else.
void save_at(const path& prefix, int second) {
  test::Save what{{{"v", test::int_scalar(second)}}};
  what.options.cairn_index = false;
  test::save(prefix, what);
  const auto epoch = test::fs::file_time_type::clock::from_sys(std::chrono::sys_seconds());
  test::fs::last_write_time(prefix.string() + ".index", epoch + std::chrono::seconds(second));
}

// A catalog that is as TensorFlow writes it.
void write_catalog(const path& dir, const Names& paths, const std::string& more = {}) {
  std::string text = "model_checkpoint_path: \"" + paths.back() + "\"\n";
  for (const std::string& each : paths) text += "all_model_checkpoint_paths: \"" + each + "\"\n";
  write_file(dir / "checkpoint", text + more);
}

Repaired repaired(const path& dir, const RepairOptions& options = {}) {
  auto done = repair_catalog(dir, "checkpoint", options);
  REQUIRE_MESSAGE(done, refusal(done));
  return *std::move(done);
}

Names names_of(const std::vector<path>& paths) {
  Names names;
  for (const path& each : paths) names.push_back(each.filename().string());
  return names;
}

Names listed_in(const path& dir) {
  const auto state = get_checkpoint_state(dir);
  REQUIRE(state);
  REQUIRE(*state);
  CHECK((*state)->model_checkpoint_path == (*state)->all_model_checkpoint_paths.back());
  return names_of((*state)->all_model_checkpoint_paths);
}

// The reason why a checkpoint was left out; empty: it was not.
std::string why(const Repaired& repaired, const path& prefix) {
  for (const SkippedCheckpoint& each : repaired.left_out) {
    if (each.prefix == prefix) return each.why;
  }
  return {};
}

// m-1 … m-3 whole, m-4 without its shard, saved in this order.
void save_four(const path& dir) {
  for (int i = 1; i <= 4; ++i) save_at(dir / ("m-" + std::to_string(i)), i);
  test::fs::remove(dir / "m-4.data-00000-of-00001");
}

TEST_CASE("a missing or damaged catalog is rebuilt of all that is whole, oldest first") {
  for (const char* text : {"", "model_checkpoint_path: \"m-1", "\xff\xfe", "nonsense: 1"}) {
    Sandbox box;
    save_four(box.root());
    save_at(box / "a-9", 0);
    if (*text != '\0') write_file(box / "checkpoint", text);
    const Repaired done = repaired(box.root());
    CHECK(done.changed);
    CHECK(listed_in(box.root()) == Names{"a-9", "m-1", "m-2", "m-3"});
    CHECK(done.state.model_checkpoint_path == box / "m-3");
    CHECK(done.left_out.size() == 1);
    CHECK(has(why(done, box / "m-4"), "cannot open"));
    CHECK_FALSE(repaired(box.root()).changed);
  }
}

TEST_CASE("a first save that died leaves nothing behind a repair, whatever the catalog is") {
  for (const char* text : {"", "nonsense: 1"}) {
    Sandbox box;
    if (*text != '\0') write_file(box / "checkpoint", text);
    for (const char* name : {".cairn-journal", "m-2.index", "m-2.data-00000-of-00001"})
      write_file((box / name).string() + ".cairn-tmp-0123456789abcdef", "torn");
    CHECK_FALSE(repaired(box.root()).changed);
    for (const auto& [name, bytes] : test::read_files(box.root())) {
      CAPTURE(name);
      CHECK_FALSE(has(name, ".cairn-tmp-"));
    }
  }
}

TEST_CASE("checkpoints of one time stand by step, then by name") {
  Sandbox box;
  for (const char* name : {"m-10", "m-9", "b-9", "m"}) save_at(box / name, 5);
  repaired(box.root());
  CHECK(listed_in(box.root()) == Names{"m", "b-9", "m-9", "m-10"});
}

TEST_CASE("the time that a checkpoint's writer wrote down outlives a copy of its files") {
  Sandbox box;
  for (int i = 3; i >= 1; --i) {
    test::save(box / ("m-" + std::to_string(i)), {{{"v", test::int_scalar(i)}}});
  }
  const auto now = test::fs::last_write_time(box / "m-1.index");
  for (int i = 1; i <= 3; ++i) {
    const std::string prefix = box / ("m-" + std::to_string(i));
    for (const char* suffix : {".index", ".cairn"})
      test::fs::last_write_time(prefix + suffix, now + std::chrono::seconds(i));
  }
  repaired(box.root());
  CHECK(listed_in(box.root()) == Names{"m-3", "m-2", "m-1"});
}

TEST_CASE(
    "entries of a catalog that are not whole or gone are dropped, those elsewhere stay, all "
    "named") {
  Sandbox box;
  save_four(box / "in");
  save_at(box / "out/m-5", 5);
  const std::string outside = box / "out/m-5";
  write_catalog(box / "in", {"m-0", outside, "m-2", "m-1", "m-3", "m-4"});
  const Repaired done = repaired(box / "in");
  CHECK(done.changed);
  // In the catalog's order, which somebody may have chosen.
  CHECK(listed_in(box / "in") == Names{"m-5", "m-2", "m-1", "m-3"});
  CHECK(done.left_out.size() == 2);
  CHECK(has(why(done, box / "in/m-0"), "no checkpoint there"));
  REQUIRE(done.kept.size() == 1);
  CHECK(done.kept[0].prefix == outside);
  CHECK(has(done.kept[0].why, "outside its directory"));
  CHECK(has(why(done, box / "in/m-4"), "cannot open"));
}

TEST_CASE("a catalog that lists what is whole stays as it is, byte for byte") {
  Sandbox box;
  save_four(box.root());
  for (const Names& names : {Names{"m-1", "m-2", "m-3"}, Names{"m-1", "m-3", "m-2"},
                             Names{(box / "m-2").string(), (box / "m-3").string()}}) {
    write_catalog(box.root(), names);
    const std::string before = test::read_file(box / "checkpoint");
    const Repaired done = repaired(box.root());
    CHECK_FALSE(done.changed);
    CHECK(test::read_file(box / "checkpoint") == before);
    CHECK(names_of({done.state.model_checkpoint_path}) == Names{path(names.back()).filename()});
  }
}

TEST_CASE("only what is younger than the catalog is added to it, unless all is asked for") {
  Sandbox box;
  for (int i = 1; i <= 6; ++i) save_at(box / ("m-" + std::to_string(i)), i);
  write_catalog(box.root(), {"m-2", "m-4"});
  Repaired done = repaired(box.root());
  CHECK(listed_in(box.root()) == Names{"m-2", "m-4", "m-5", "m-6"});
  CHECK(done.left_out.size() == 2);
  CHECK(has(why(done, box / "m-1"), "older than the checkpoints in the catalog"));
  CHECK(has(why(done, box / "m-3"), "older than the checkpoints in the catalog"));
  RepairOptions all;
  all.all = true;
  done = repaired(box.root(), all);
  CHECK(done.changed);
  CHECK(listed_in(box.root()) == Names{"m-1", "m-2", "m-3", "m-4", "m-5", "m-6"});
  CHECK(done.left_out.empty());
}

TEST_CASE("what was preserved before an entry that is damaged now is not exposed to retention") {
  Sandbox box;
  for (int i = 1; i <= 4; ++i) save_at(box / ("m-" + std::to_string(i)), i);
  write_catalog(box.root(), {"m-1", "m-4"});
  test::fs::remove(box / "m-4.data-00000-of-00001");
  repaired(box.root());
  CHECK(listed_in(box.root()) == Names{"m-1"});
}

TEST_CASE("timestamps stay beside their entries") {
  Sandbox box;
  save_four(box.root());
  write_catalog(box.root(), {"m-1", "m-2", "m-4"},
                "all_model_checkpoint_timestamps: 1.5\nall_model_checkpoint_timestamps: 2.5\n"
                "all_model_checkpoint_timestamps: 2.75\nlast_preserved_timestamp: 1.25\n");
  const Repaired done = repaired(box.root());
  CHECK(listed_in(box.root()) == Names{"m-1", "m-2", "m-3"});
  const CheckpointState state = **get_checkpoint_state(box.root());
  CHECK(state.all_model_checkpoint_timestamps_s == std::vector<double>{1.5, 2.5, 3});
  CHECK(state.last_preserved_timestamp_s == 1.25);
  CHECK(done.state.all_model_checkpoint_timestamps_s == state.all_model_checkpoint_timestamps_s);
}

TEST_CASE("entries of a directory that was moved are listed where they are now") {
  Sandbox box;
  save_four(box.root());
  write_catalog(box.root(), {"/gone/m-1", "/gone/m-2", "/gone/m-3"});
  CHECK_FALSE(latest_checkpoint(box.root())->has_value());
  CHECK(repaired(box.root()).changed);
  CHECK(latest_checkpoint(box.root())->value() == box / "m-3");
}

TEST_CASE("names that no catalog can list are left out and named") {
  Sandbox box;
  save_at(box / "m-1", 1);
  save_at(box / "caf\xe9-2", 2);
  save_at(box / "checkpoint", 3);
  write_file(box / ".index", test::read_file(box / "m-1.index"));
  const Repaired done = repaired(box.root());
  CHECK(listed_in(box.root()) == Names{"m-1"});
  CHECK(has(why(done, box / "caf\xe9-2"), "not UTF-8"));
  CHECK(has(why(done, box / "checkpoint"), "has the name of the catalog"));
  CHECK(has(why(done, box / ""), "have no name before the suffix"));
}

TEST_CASE("where nothing is whole the catalog stays, and nothing is written") {
  Sandbox box;
  save_at(box / "m-1", 1);
  test::fs::remove(box / "m-1.data-00000-of-00001");
  Repaired done = repaired(box.root());
  CHECK_FALSE(done.changed);
  CHECK(done.state.model_checkpoint_path.empty());
  CHECK(has(why(done, box / "m-1"), "cannot open"));
  CHECK_FALSE(test::fs::exists(box / "checkpoint"));
  write_catalog(box.root(), {"m-1"});
  const std::string before = test::read_file(box / "checkpoint");
  CHECK_FALSE(repaired(box.root()).changed);
  CHECK(test::read_file(box / "checkpoint") == before);
  CHECK(has(refusal(repair_catalog(box / "none")), "NotFound: "));
}

TEST_CASE("a dry run says the same and changes nothing") {
  Sandbox box;
  save_four(box.root());
  RepairOptions dry;
  dry.dry_run = true;
  for (const char* text : {"", "damaged"}) {
    if (*text != '\0') write_file(box / "checkpoint", text);
    const test::Files before = test::read_files(box.root());
    const Repaired done = repaired(box.root(), dry);
    CHECK(done.changed);
    CHECK(names_of(done.state.all_model_checkpoint_paths) == Names{"m-1", "m-2", "m-3"});
    CHECK(test::read_files(box.root()) == before);
  }
}

TEST_CASE("a catalog under another name is repaired as well") {
  Sandbox box;
  save_four(box.root());
  REQUIRE(repair_catalog(box.root(), "best"));
  CHECK(get_checkpoint_state(box.root(), "best")->value().model_checkpoint_path == box / "m-3");
  CHECK_FALSE(get_checkpoint_state(box.root())->has_value());
}

Names unnamed_in(const path& dir) {
  const auto shards = unnamed_shards(dir);
  REQUIRE_MESSAGE(shards, refusal(shards));
  Names names;
  for (const UnnamedShard& shard : *shards) {
    CHECK(shard.path.parent_path() == dir);
    CHECK(shard.size_bytes == test::fs::file_size(shard.path));
    names.push_back(shard.path.filename().string());
  }
  return names;
}

TEST_CASE("the shards that no index names are told, and no others") {
  Sandbox box;
  save_at(box / "tf-1", 1);
  test::save(box / "ours-1", {{{"v", test::int_scalar(1)}}, {{"s", {"a", "b"}}}});
  test::Save alone{{{"v", test::int_scalar(1)}}};
  alone.options.tensorflow_index = false;
  test::save(box / "alone", alone);
  CHECK(unnamed_in(box.root()).empty());

  const std::string index = test::read_file(box / "ours-1.cairn");
  // A copy that has come so far, what a publisher left, and a file that is no shard.
  write_file(box / "copy.data-00000-of-00002", "12345");
  write_file(box / "tf-1.data-00000-of-00004", "1");
  write_file(box / "tf-1.data-00000-of-00001.part", "1");
  const Names two{"copy.data-00000-of-00002", "tf-1.data-00000-of-00004"};
  CHECK(unnamed_in(box.root()) == two);

  // Whoever publishes has its index under a temporary name already.
  for (const char* suffix : {".cairn", ".index"})
    test::fs::rename(box / (std::string("ours-1") + suffix),
                     box / (std::string("ours-1") + suffix + ".cairn-tmp-0123456789abcdef"));
  CHECK(unnamed_in(box.root()) == two);
  // Of a damaged index nobody knows what it names.
  write_file(box / "ours-1.cairn", index.substr(0, index.size() / 2));
  write_file(box / "ours-1.data-00000-of-00009", "1");
  CHECK(unnamed_in(box.root()) == two);
  CHECK(has(refusal(unnamed_shards(box / "nowhere")), "NotFound: "));
}

TEST_CASE("a Saver goes on after a repair") {
  Sandbox box;
  auto saver = Saver::open(box.root());
  REQUIRE(saver);
  const std::int32_t number = 7;
  const NamedTensor tensor{{"v", DType::Int32, {}}, std::as_bytes(std::span(&number, 1)), {}};
  SaveOptions options;
  for (options.step = 1; *options.step <= 7; ++*options.step)
    REQUIRE(saver->save("m", std::span(&tensor, 1), options));
  write_file(box / "checkpoint", "damaged");
  CHECK(has(refusal(saver->save("m", std::span(&tensor, 1), options)), "Corrupt: "));
  CHECK(repaired(box.root()).changed);
  CHECK(listed_in(box.root()) == Names{"m-3", "m-4", "m-5", "m-6", "m-7"});
  const auto saved = saver->save("m", std::span(&tensor, 1), options);
  REQUIRE_MESSAGE(saved, refusal(saved));
  CHECK(listed_in(box.root()) == Names{"m-4", "m-5", "m-6", "m-7", "m-8"});
}

}  // namespace
}  // namespace cairn
