// What the next writer makes of a journal.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "cairn/catalog.h"
#include "cairn/copy.h"
#include "format/cairn/journal.h"
#include "format/digest.h"
#include "format/le.h"
#include "lib/os/file.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/journal.h"
#include "lib/saver/without_room.h"
#include "lib/write/writer_access.h"
#include "tests/unit/saver/saver_parts.h"

namespace cairn {
namespace {

using test::catalog_in;
using test::catalog_of;
using test::keeping;
using test::refusal;
using test::Sandbox;
using test::steps_in;
using test::strays_in;
using test::Trainer;
using test::fs::path;

// m-1 and m-2 in a directory, and the journal of a save of m-3 that lets go of m-1.
struct Begun {
  Sandbox box;
  path dir;
  os::Directory directory = *os::Directory::open(box.root());
  internal::Place place{dir, directory, "checkpoint"};
  format::JournalFacts journal;
  std::vector<std::string> warnings;  // of recover_from_journal()

  Begun() : dir(box.root()) {
    Trainer trainer(dir, keeping({Retention::newest(2)}));
    trainer.save(1);
    trainer.save(2);
    journal = {"checkpoint", *internal::before_adding(place, "m-3"), {members("m-1")}};
    REQUIRE(internal::write_journal(directory, journal));
  }

  format::JournalCheckpoint members(const char* base) {
    return *internal::checkpoint_files(directory, *directory.names(), base);
  }

  static void write(const path& prefix, std::int32_t value) {
    test::save(prefix, {{{"v", test::int_scalar(value)}}});
  }

  // What the save that the journal announced had come to.
  void commit(std::int32_t value) {
    auto writer = WriterAccess::create_in(*directory.duplicate(), dir / journal.adding.base,
                                          {{"v", DType::Int32, {}}}, {});
    REQUIRE(writer);
    WriterAccess::created_at(*writer, journal.adding.created_ns);
    REQUIRE(writer->write("v", std::as_bytes(std::span(&value, 1))));
    REQUIRE(writer->commit());
  }

  // What was foreseen of a checkpoint is said of it, or it is another's by now.
  void recover_from_journal() {
    const auto files = test::read_files(dir);
    const auto left = left_behind(dir);
    REQUIRE_MESSAGE(left, refusal(left));
    CHECK(test::read_files(dir) == files);
    const auto done = internal::recover_from_journal(place);
    REQUIRE_MESSAGE(done, refusal(done));
    CHECK(strays_in(dir).empty());
    warnings = done->warnings;
    for (const SkippedCheckpoint& each : left->unfinished) {
      const std::string begins = each.prefix.string() + ": ";
      CHECK(each.why.starts_with(begins));
      CHECK(std::ranges::any_of(
          warnings, [&](const std::string& warning) { return warning.starts_with(begins); }));
    }
    for (const LeftFile& file : left->files) CHECK(!test::fs::exists(file.path));
    const auto now = left_behind(dir);
    REQUIRE_MESSAGE(now, refusal(now));
    CHECK(now->unfinished.empty());
    CHECK(now->files.empty());
  }
};

TEST_CASE("a save that died after its commit is finished: listed, and the old one let go of") {
  Begun begun;
  begun.commit(3);
  begun.recover_from_journal();
  CHECK(catalog_in(begun.dir) == catalog_of({"m-2", "m-3"}));
  CHECK(steps_in(begun.dir) == std::vector{2, 3});
  const std::string dir = begun.dir.string();
  CHECK(begun.warnings ==
        std::vector{dir +
                        "/m-3: a save of it was cut short when it was whole; \"checkpoint\" lists "
                        "it now",
                    dir + "/m-1: its removal was cut short, and is finished now"});
}

// As it is left by a publisher that died when its shards had their names.
void unpublish(const path& dir, const std::string& base) {
  for (const char* suffix : {".index", ".cairn"})
    test::fs::rename(dir / (base + suffix), dir / (base + suffix + ".cairn-tmp-0123456789abcdef"));
}

TEST_CASE("a save that died before its commit has never been") {
  Begun begun;
  Begun::write(begun.dir / "m-3", 3);
  unpublish(begun.dir, "m-3");
  test::write_file(begun.dir / "m-4.data-00000-of-00001", "a copy under way");
  begun.recover_from_journal();
  CHECK(begun.warnings ==
        std::vector{begun.dir.string() +
                    "/m-3: a save of it was cut short before it was whole; what it "
                    "had written is gone"});
  CHECK(!test::fs::exists(begun.dir / "m-3.data-00000-of-00001"));
  CHECK(test::fs::exists(begun.dir / "m-4.data-00000-of-00001"));
  CHECK(catalog_in(begun.dir) == catalog_of({"m-1", "m-2"}));
  CHECK(steps_in(begun.dir) == std::vector{1, 2});
}

TEST_CASE("a save over a prefix that died before its commit leaves the old one") {
  Begun begun;
  begun.journal = {"checkpoint", *internal::before_adding(begun.place, "m-2"), {}};
  REQUIRE(internal::write_journal(begun.directory, begun.journal));
  const std::array before{"m-2.index", "m-2.cairn", "m-2.data-00000-of-00001"};
  for (const char* name : before)
    test::fs::create_hard_link(begun.dir / name, begun.dir / (std::string("m-kept-") + name));
  Begun::write(begun.dir / "m-2", 7);
  REQUIRE(test::fs::exists(begun.dir / "m-2.data-00000-of-00002"));
  unpublish(begun.dir, "m-2");
  for (const char* name : before)
    test::fs::rename(begun.dir / (std::string("m-kept-") + name), begun.dir / name);
  begun.recover_from_journal();
  CHECK(steps_in(begun.dir) == std::vector{1, 2});
  CHECK(!test::fs::exists(begun.dir / "m-2.data-00000-of-00002"));
  CHECK(test::fs::exists(begun.dir / "m-2.data-00000-of-00001"));
}

TEST_CASE("a save that died between the catalog and the removals is finished") {
  Begun begun;
  begun.commit(3);
  test::write_file(begun.dir / "checkpoint", catalog_of({"m-2", "m-3"}));
  test::fs::remove(begun.dir / "m-1.index");  // so far it came
  begun.recover_from_journal();
  CHECK(steps_in(begun.dir) == std::vector{2, 3});
}

TEST_CASE("a catalog that somebody wrote after the crash stays as it is") {
  Begun begun;
  begun.commit(3);
  Begun::write(begun.dir / "m-4", 4);
  test::write_file(begun.dir / "checkpoint", catalog_of({"m-1", "m-4"}));
  begun.recover_from_journal();
  CHECK(catalog_in(begun.dir) == catalog_of({"m-1", "m-4"}));
  CHECK(steps_in(begun.dir) == std::vector{1, 2, 3, 4});
}

TEST_CASE("what was saved under a doomed name after the crash stays") {
  Begun begun;
  begun.commit(3);
  test::write_file(begun.dir / "checkpoint", catalog_of({"m-2", "m-3"}));
  test::remove_files(begun.dir / "m-1");
  Begun::write(begun.dir / "m-1", 1);
  begun.recover_from_journal();
  CHECK(steps_in(begun.dir) == std::vector{1, 2, 3});
}

TEST_CASE("a prune that died before the catalog was written has never been") {
  Begun begun;
  begun.journal.adding = {};
  REQUIRE(internal::write_journal(begun.directory, begun.journal));
  begun.recover_from_journal();
  CHECK(steps_in(begun.dir) == std::vector{1, 2});
}

TEST_CASE("what somebody else has put under the name of a dead save is no commit of it") {
  Begun begun;
  Begun::write(begun.dir / "m-z", 3);
  SUBCASE("a copy") {
    TransferOptions to;
    to.output = begun.dir / "m-3";
    REQUIRE(copy_checkpoint(begun.dir / "m-z", to));
  }
  SUBCASE("saved since") { Begun::write(begun.dir / "m-3", 3); }
  SUBCASE("without P.cairn") {
    Begun::write(begun.dir / "m-3", 3);
    test::fs::remove(begun.dir / "m-3.cairn");
  }
  begun.recover_from_journal();
  CHECK(catalog_in(begun.dir) == catalog_of({"m-1", "m-2"}));
  CHECK(test::fs::exists(begun.dir / "m-1.index"));
  CHECK(Checkpoint::open(begun.dir / "m-3"));
}

TEST_CASE("a save that died when P.index alone had its name is finished") {
  Begun begun;
  begun.commit(3);
  test::fs::rename(begun.dir / "m-3.cairn", begun.dir / "m-3.cairn.cairn-tmp-0123456789abcdef");
  begun.recover_from_journal();
  CHECK(catalog_in(begun.dir) == catalog_of({"m-2", "m-3"}));
  CHECK(steps_in(begun.dir) == std::vector{2, 3});
  CHECK(test::fs::exists(begun.dir / "m-3.cairn"));
}

TEST_CASE("a save that died when P.cairn alone had its name is finished") {
  Begun begun;
  begun.commit(3);
  test::fs::rename(begun.dir / "m-3.index", begun.dir / "m-3.index.cairn-tmp-0123456789abcdef");
  begun.recover_from_journal();
  CHECK(catalog_in(begun.dir) == catalog_of({"m-2", "m-3"}));
  CHECK(steps_in(begun.dir) == std::vector{2, 3});
  CHECK(test::fs::exists(begun.dir / "m-3.index"));
}

TEST_CASE("a save that died before P.index, which is TensorFlow's, was replaced has never been") {
  Begun begun;
  begun.commit(3);
  for (const char* suffix : {".index", ".data-00000-of-00001"}) {
    test::fs::remove((begun.dir / "m-3").string() + suffix);
    test::fs::copy_file(test::golden(std::string("tensorflow/saver_walk/saved/train2-9") + suffix),
                        (begun.dir / "m-3").string() + suffix);
  }
  begun.recover_from_journal();
  CHECK(catalog_in(begun.dir) == catalog_of({"m-1", "m-2"}));
  CHECK((*Checkpoint::open(begun.dir / "m-3")).format() == Format::TensorFlow);
}

// m-1, which no catalog lists any more, and the journal of its departure.
struct Left : Begun {
  Left() {
    test::write_file(dir / "checkpoint", catalog_of({"m-2"}));
    write_journal({members("m-1")});
  }

  void write_journal(std::vector<format::JournalCheckpoint> leaving) {
    REQUIRE(internal::write_journal(directory, {"checkpoint", {}, {}, std::move(leaving)}));
  }
};

TEST_CASE("what a dead move or removal had left whole stays") {
  Left left;
  SUBCASE("with both indexes") {}
  SUBCASE("with one") { test::fs::remove(left.dir / "m-1.index"); }
  left.recover_from_journal();
  CHECK(catalog_in(left.dir) == catalog_of({"m-2"}));
  CHECK(Checkpoint::open(left.dir / "m-1"));
  CHECK(!test::fs::exists(left.dir / ".cairn-journal"));
}

// Whether the index by this suffix is there again after it had stepped aside, and its checkpoint.
bool comes_back(const std::string& aside, const std::string& other, bool other_is_there) {
  Left left;
  const std::string one = (left.dir / "m-1").string();
  test::fs::rename(one + aside, one + aside + ".cairn-tmp-0123456789abcdef");
  if (!other_is_there) test::fs::remove(one + other);
  left.recover_from_journal();
  CHECK(test::fs::exists(one + aside) == test::fs::exists(one + ".data-00000-of-00001"));
  return test::fs::exists(one + aside) && (*Checkpoint::open(one)).format() == Format::Cairn;
}

TEST_CASE("an index that had stepped aside comes back where the other is still there") {
  CHECK(comes_back(".index", ".cairn", true));
  CHECK(comes_back(".cairn", ".index", true));
  CHECK_FALSE(comes_back(".index", ".cairn", false));
  CHECK_FALSE(comes_back(".cairn", ".index", false));
}

TEST_CASE("of two indexes the one goes first that leaves the other to speak for all") {
  Begun begun;
  const auto first = [&] { return begun.members("m-1").files.front().name; };
  CHECK(first() == "m-1.index");
  const path foreign = test::golden("tensorflow/saver_walk/saved/train2-9.index");
  test::write_file(begun.dir / "m-1.index", test::read_file(foreign));
  CHECK(first() == "m-1.cairn");
}

TEST_CASE("what is left of one whose indexes had gone goes") {
  Left left;
  test::fs::remove(left.dir / "m-1.index");
  test::fs::remove(left.dir / "m-1.cairn");
  left.recover_from_journal();
  CHECK(!test::fs::exists(left.dir / "m-1.data-00000-of-00001"));
}

TEST_CASE("what was linked back under a doomed name is another's, though it is the same file") {
  Begun begun;
  begun.journal.adding = {};
  SUBCASE("let go of by retention") {}
  SUBCASE("moved or removed") { begun.journal.leaving.swap(begun.journal.removing); }
  REQUIRE(internal::write_journal(begun.directory, begun.journal));
  test::write_file(begun.dir / "checkpoint", catalog_of({"m-2"}));
  for (const char* name : {"m-1.index", "m-1.cairn", "m-1.data-00000-of-00001"}) {
    const path kept = begun.dir / (std::string("kept-") + name);
    test::fs::create_hard_link(begun.dir / name, kept);
    test::fs::remove(begun.dir / name);
    test::fs::create_hard_link(kept, begun.dir / name);
    test::fs::remove(kept);
  }
  begun.recover_from_journal();
  CHECK(steps_in(begun.dir) == std::vector{1, 2});
  CHECK(Checkpoint::open(begun.dir / "m-1"));
}

TEST_CASE("what a link leads to by now, though it was to go, stays") {
  Begun begun;
  for (const char* suffix : {".index", ".cairn", ".data-00000-of-00001"})
    test::fs::create_symlink(std::string("m-1") + suffix,
                             begun.dir / (std::string("best") + suffix));
  bool stays = false;
  SUBCASE("unless that goes too") { begun.journal.removing.push_back(begun.members("best")); }
  SUBCASE("as long as the link") { stays = true; }
  begun.journal.adding = {};
  REQUIRE(internal::write_journal(begun.directory, begun.journal));
  test::write_file(begun.dir / "checkpoint", catalog_of({"m-2"}));
  const auto settled = internal::recover_from_journal(begun.place);
  REQUIRE_MESSAGE(settled, refusal(settled));
  CHECK(settled->warnings.size() == (stays ? 1 : 2));
  for (const std::string& warning : settled->warnings) {
    CHECK(test::has(
        warning, stays
                     ? "m-1: its removal was cut short; it is kept, because the symbolic link best."
                     : ": its removal was cut short, and is finished now"));
  }
  CHECK(Checkpoint::open(begun.dir / "best").has_value() == stays);
  CHECK(Checkpoint::open(begun.dir / "m-1").has_value() == stays);
  CHECK(steps_in(begun.dir) == (stays ? std::vector{1, 2} : std::vector{2}));
}

TEST_CASE("a journal removes files of checkpoints only, and only in its directory") {
  Begun begun;
  const path outside = begun.box.root().string() + "-outside";
  test::write_file(outside, "mine");
  test::write_file(begun.dir / "m-train.py", "mine");
  begun.journal.adding = {};
  begun.journal.removing.clear();
  for (const std::string& name :
       {std::string("m-train.py"), "../" + outside.filename().string(), outside.string()}) {
    const auto info = *os::look(begun.dir / name);
    begun.journal.removing.push_back(
        {"m", {{name, {info->size_bytes, info->mtime_ns, info->inode}}}});
  }
  REQUIRE(internal::write_journal(begun.directory, begun.journal));
  begun.recover_from_journal();
  CHECK(test::fs::exists(begun.dir / "m-train.py"));
  CHECK(test::fs::exists(outside));
  test::fs::remove(outside);
}

TEST_CASE("a removal without a journal goes as far as it came, and the next writer ends it") {
  // How many of its indexes have their temporary names.
  for (const std::size_t aside : {0u, 1u, 2u}) {
    Sandbox box;
    Trainer trainer(box.root(), keeping({Retention::newest(9)}));
    for (int step = 1; step <= 3; ++step) trainer.save(step);
    const std::array names{"m-1.index", "m-1.cairn"};
    for (std::size_t i = 0; i < aside; ++i)
      test::fs::rename(box / names[i], box / os::temporary_name(names[i]));
    trainer.save(4);
    CHECK(strays_in(box.root()).empty());
    CHECK(test::fs::exists(box / "m-1.data-00000-of-00001") == (aside < 2));
    CHECK(steps_in(box.root()) == (aside < 2 ? std::vector{1, 2, 3, 4} : std::vector{2, 3, 4}));
    CHECK(test::has(catalog_in(box.root()), "\"m-1\"") == (aside < 2));
  }
}

TEST_CASE("what goes without a journal is gone, and what is another by now stays") {
  for (const bool tensorflow_index : {true, false}) {
    Sandbox box;
    SaverOptions options = keeping({Retention::newest(9)});
    options.tensorflow_index = tensorflow_index;
    Trainer trainer(box.root(), options);
    trainer.save(1);
    trainer.save(2);
    const auto directory = *os::Directory::open(box.root());
    const auto what = *internal::checkpoint_files(directory, *directory.names(), "m-1");
    trainer.save(1);
    const auto another = internal::remove_without_journal(directory, what);
    REQUIRE(another);
    CHECK(another->outcome == internal::RemovalResult::Outcome::Another);
    CHECK(steps_in(box.root()) == std::vector{1, 2});
    const auto now = *internal::checkpoint_files(directory, *directory.names(), "m-1");
    const auto removal = internal::remove_without_journal(directory, now);
    REQUIRE(removal);
    CHECK(removal->gone());
    CHECK(strays_in(box.root()).empty());
    CHECK(steps_in(box.root()) == std::vector{2});
    for (const auto& [name, bytes] : test::read_files(box.root())) CHECK(!name.starts_with("m-1"));
  }
}

TEST_CASE("a journal that is cut anywhere, or has a flipped bit, is none") {
  const format::JournalFacts facts{
      "checkpoint",
      {"m-3", {{"m-3.index", {1, -2, 3}, -4}}, 17},
      {{"m-1", {{"m-1.index", {4, 5, 6}, 1}, {"m-1.cairn", {7, 8, 9}, 2}}}, {"m-0", {}}},
      {{"m-2", {{"m-2.index", {4, 5, 6}, 3}}}}};
  const std::string text = format::encode_journal(facts);
  const auto back = format::decode_journal(text);
  REQUIRE(back);
  CHECK(*back == facts);
  for (std::size_t size = 0; size < text.size(); ++size)
    CHECK(!format::decode_journal(std::string_view(text).substr(0, size)));
  for (std::size_t bit = 0; bit < 8 * text.size(); ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    CHECK(!format::decode_journal(flipped));
  }
  std::string nameless = "cairn journal 1\n";
  nameless += "sum\t" + format::hex(format::xxh3_128(format::as_bytes(nameless)).bytes) + "\n";
  CHECK(format::decode_journal(nameless).error().what == "the journal names no catalog");
  Begun begun;
  test::write_file(begun.dir / ".cairn-journal", "cairn journal 1\nnonsense");
  begun.recover_from_journal();
  CHECK(steps_in(begun.dir) == std::vector{1, 2});
}

}  // namespace
}  // namespace cairn
