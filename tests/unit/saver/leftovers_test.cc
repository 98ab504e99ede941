#include "lib/saver/orphan_indexes.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "lib/write/publisher.h"
#include "lib/write/temp_file.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::Sandbox;
using test::write_file;
using test::fs::path;
using Names = std::vector<std::string>;

double in_hours(double hours) { return static_cast<double>(os::now_ns()) * 1e-9 + hours * 3600; }

Names orphans_in(const path& dir, double hours = 25) {
  const auto directory = os::Directory::open(dir);
  REQUIRE(directory);
  const auto names = directory->names();
  REQUIRE(names);
  return internal::orphan_indexes(*directory, *names, in_hours(hours));
}

// What went, in sentences.
Names cleared(const path& dir, double hours = 25) {
  const auto directory = os::Directory::open(dir);
  REQUIRE(directory);
  const auto names = directory->names();
  REQUIRE(names);
  return internal::remove_orphan_indexes({dir, *directory, "checkpoint"}, *names, in_hours(hours));
}

TEST_CASE("a draft is made beside those who sweep, whatever moment they come at") {
  Sandbox box;
  write_file(box / "shard", "bytes");
  const auto directory = os::Directory::open(box.root());
  REQUIRE(directory);
  const auto source = directory->open_file("shard", os::Links::Refuse);
  REQUIRE(source);
  std::atomic<bool> over = false;
  std::thread sweeping([&] {
    while (!over) (void)internal::sweep_all(*directory);
  });
  std::string refused;
  for (int i = 0; i < 10'000 && refused.empty(); ++i) {
    const auto linked = internal::TempFile::link(*directory, "m.data-00000-of-00001", *source);
    const auto made = internal::TempFile::create(*directory, "m.index");
    if (!linked) refused = linked.error().what;
    if (!made) refused = made.error().what;
  }
  over = true;
  sweeping.join();
  CHECK(refused == "");
}

Names left_in(const path& dir) {
  const auto left = left_behind(dir);
  REQUIRE_MESSAGE(left, test::refusal(left));
  CHECK(left->warnings.empty());
  Names names;
  for (const LeftFile& file : left->files) {
    CHECK(file.path.parent_path() == dir);
    CHECK(file.size_bytes == test::fs::file_size(file.path));
    names.push_back(file.path.filename().string());
  }
  return names;
}

TEST_CASE("what nobody holds was left by a dead process, and what somebody holds was not") {
  Sandbox box;
  write_file(box / "shard", "bytes");
  const auto directory = os::Directory::open(box.root());
  REQUIRE(directory);
  const auto source = directory->open_file("shard", os::Links::Refuse);
  REQUIRE(source);
  CHECK(left_in(box.root()) == Names{});
  Names dead;
  for (const char* name : {"m.index.cairn-tmp-0123456789abcdef", "m.cairn-tmp-0123456789abcdef",
                           ".cairn-journal.cairn-tmp-0123456789abcdef"}) {
    write_file(box / name, "of a dead one");
    dead.emplace_back(name);
  }
  std::ranges::sort(dead);
  auto made = internal::TempFile::create(*directory, "m.index");
  auto linked = internal::TempFile::link(*directory, "m.data-00000-of-00001", *source);
  REQUIRE(made);
  REQUIRE(linked);
  CHECK(left_in(box.root()) == dead);
  dead.push_back(made->temporary_name());
  made->abandon();
  {
    const internal::TempFile gone = *std::move(made);
  }
  std::ranges::sort(dead);
  CHECK(left_in(box.root()) == dead);
  REQUIRE(internal::sweep_all(*directory));
  CHECK(left_in(box.root()) == Names{});
}

TEST_CASE(
    "no file of a writer that lives is taken for a dead one's, whatever moment it is seen at") {
  Sandbox box;
  write_file(box / "shard", "bytes");
  const auto directory = os::Directory::open(box.root());
  REQUIRE(directory);
  const auto source = directory->open_file("shard", os::Links::Refuse);
  REQUIRE(source);
  std::atomic<bool> over = false;
  std::string refused;
  std::thread writing([&] {
    while (!over) {
      const auto linked = internal::TempFile::link(*directory, "m.data-00000-of-00001", *source);
      const auto made = internal::TempFile::create(*directory, "m.index");
      if (!linked) refused = linked.error().what;
      if (!made) refused = made.error().what;
    }
  });
  Names taken;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < until) {
    for (std::string& name : left_in(box.root())) taken.push_back(std::move(name));
  }
  over = true;
  writing.join();
  CHECK(taken == Names{});
  CHECK(refused == "");
}

// A String tensor gets a shard of its own, so that there are two.
void save_two_shards(const path& prefix, bool tensorflow_index) {
  test::Save what{{{"v", test::int_scalar(1)}}, {{"s", {"a", "b"}}}};
  what.options.tensorflow_index = tensorflow_index;
  test::save(prefix, what);
}

void remove_all(const path& dir, std::string_view part) {
  std::vector<path> gone;
  for (const auto& entry : test::fs::directory_iterator(dir)) {
    if (test::has(entry.path().filename().string(), part)) gone.push_back(entry.path());
  }
  REQUIRE_FALSE(gone.empty());
  for (const path& each : gone) test::fs::remove(each);
}

path first_shard(const path& dir) {
  std::vector<path> shards;
  for (const auto& entry : test::fs::directory_iterator(dir)) {
    if (test::has(entry.path().filename().string(), ".data-")) shards.push_back(entry.path());
  }
  REQUIRE(shards.size() == 2);
  return std::min(shards[0], shards[1]);
}

TEST_CASE("no leftover is found among whole checkpoints, whichever indexes they have") {
  Sandbox box;
  save_two_shards(box / "both", true);
  save_two_shards(box / "own", false);
  test::copy_checkpoint(test::golden("tensorflow/saver_walk/saved/train2-9"), box / "train2-9");
  test::write_file(box / "notes.cairn", "not an index");
  test::write_file(box / "empty.cairn", "");
  test::fs::create_directory(box / "dir.cairn");
  test::fs::create_symlink(box / "nowhere.cairn", box / "link.cairn");
  CHECK(orphans_in(box.root()) == Names{});
}

TEST_CASE("an index that TensorFlow's retention left behind is a leftover") {
  Sandbox box;
  for (const char* name : {"m-2", "m-1", "m-3"}) {
    test::copy_checkpoint(test::golden("tensorflow/saver_walk/saved/train2-9"), box / name);
    REQUIRE(import_index(box / name));
  }
  for (const char* name : {"m-1", "m-2"}) {
    remove_all(box.root(), std::string(name) + ".index");
    CHECK(orphans_in(box.root()) == (name[2] == '1' ? Names{} : Names{"m-1.cairn"}));
    remove_all(box.root(), std::string(name) + ".data-");
  }
  CHECK(orphans_in(box.root()) == Names{"m-1.cairn", "m-2.cairn"});
}

TEST_CASE("an index is no leftover while P.index stands beside it") {
  Sandbox box;
  save_two_shards(box / "m", true);
  remove_all(box.root(), ".data-");
  CHECK(orphans_in(box.root()) == Names{});
}

TEST_CASE("an index stays as long as a shard of it is there, by whatever name") {
  Sandbox box;
  bool tensorflow_index = false;
  SUBCASE("the only index of its checkpoint") {}
  SUBCASE("one of two, and the other is gone") { tensorflow_index = true; }
  save_two_shards(box / "m", tensorflow_index);
  test::fs::remove(box / "m.index");
  CHECK(orphans_in(box.root()) == Names{});
  test::fs::remove(first_shard(box.root()));
  CHECK(orphans_in(box.root()) == Names{});
  remove_all(box.root(), ".data-");
  CHECK(orphans_in(box.root()) == Names{"m.cairn"});
  // As transfers call what has not arrived yet; and an export, which TensorFlow's retention leaves.
  for (const char* name : {".m.data-00000-of-00002.Xa3f", "m.data-00000-of-00002.part",
                           "m.data-00001-of-00002.cairn-tmp-0123456789abcdef", "m.safetensors"}) {
    CAPTURE(name);
    write_file(box / name, "so far");
    CHECK(orphans_in(box.root()) == Names{});
    test::fs::remove(box / name);
  }
  write_file(box / "n.data-00000-of-00002", "another's");
  CHECK(orphans_in(box.root()) == Names{"m.cairn"});
}

TEST_CASE("what a day ago was not there, or is pinned, may be missed and stays") {
  Sandbox box;
  test::Save what{{{"v", test::int_scalar(1)}}};
  what.options.tensorflow_index = false;
  test::save(box / "m", what);
  REQUIRE(Saver::open(box.root())->pin(box / "m"));
  test::save(box / "n", what);
  remove_all(box.root(), ".data-");
  CHECK(orphans_in(box.root(), 0) == Names{});
  CHECK(orphans_in(box.root(), 23) == Names{});
  CHECK(orphans_in(box.root(), 25) == Names{"n.cairn"});
}

TEST_CASE("a leftover that no catalog lists and no link leads to goes, and that is said") {
  Sandbox box;
  test::Save what{{{"v", test::int_scalar(1)}}};
  what.options.tensorflow_index = false;
  for (const char* name : {"gone", "listed", "best", "linked"}) test::save(box / name, what);
  REQUIRE(set_latest_checkpoint(box.root(), "listed"));
  REQUIRE(set_latest_checkpoint(box.root(), "best", "best_checkpoint"));
  test::fs::create_symlink("linked.cairn", box / "alias.cairn");
  remove_all(box.root(), ".data-");
  CHECK(cleared(box.root(), 0) == Names{});
  const Names went = cleared(box.root());
  REQUIRE(went.size() == 1);
  CHECK(has(went[0], "gone.cairn: was removed, because it was the last file of a checkpoint"));
  for (const char* name : {"listed", "best", "linked"})
    CHECK(test::fs::exists(box / (std::string(name) + ".cairn")));
  CHECK(!test::fs::exists(box / "gone.cairn"));

  // Where nobody knows what a catalog lists, it may list any.
  test::save(box / "gone", what);
  remove_all(box.root(), ".data-");
  write_file(box / "checkpoint", "model_checkpoint_path: \"gone\" damaged {");
  CHECK(cleared(box.root()) == Names{});
  CHECK(test::fs::exists(box / "gone.cairn"));
}

TEST_CASE("an index that cannot be read is no leftover, whatever is gone") {
  Sandbox box;
  save_two_shards(box / "m", false);
  remove_all(box.root(), ".data-");
  const std::string whole = test::read_file(box / "m.cairn");
  for (std::size_t i = 0; i < whole.size(); i += 7) {
    std::string damaged = whole;
    damaged[i] ^= 0x20;
    test::write_file(box / "m.cairn", damaged);
    CHECK(orphans_in(box.root()) == Names{});
  }
  test::write_file(box / "m.cairn", whole.substr(0, whole.size() - 1));
  CHECK(orphans_in(box.root()) == Names{});
  test::write_file(box / "m.cairn", whole);
  CHECK(orphans_in(box.root()) == Names{"m.cairn"});
}

}  // namespace
}  // namespace cairn
