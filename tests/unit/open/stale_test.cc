// format/FORMAT.md, section 4: which index speaks where P.cairn and P.index disagree.

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>

#include "cairn/restore.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::Files;
using test::has;
using test::refusal;
using test::Sandbox;
using test::Values;
using test::write_file;
using test::fs::path;

const Values kOld{{"v", test::int_scalar(1)}, {"w", test::floats({1, 2, 3, 4})}};
const Values kNew{{"v", test::int_scalar(2)}, {"w", test::floats({5, 6, 7, 8})}};

// A save over a save, stopped before the old shards are removed: both are there.
struct TwoSaves {
  Sandbox box;
  path prefix = box / "m";
  path old_dir = box / "old";
  path new_dir = box / "new";

  TwoSaves(const WriterOptions& before, const WriterOptions& after) {
    test::save(prefix, {kOld, {}, {}, before});
    keep(old_dir);
    test::save(prefix, {kNew, {}, {}, after});
    keep(new_dir);
    // Links keep inode and time, so that the records in P.cairn hold.
    for (const path& from : {old_dir, new_dir}) {
      for (const auto& entry : test::fs::directory_iterator(from)) {
        if (has(entry.path().native(), ".data-")) link(entry.path());
      }
    }
  }

  void keep(const path& where) const {
    test::fs::create_directories(where);
    for (const auto& entry : test::fs::directory_iterator(box.root())) {
      if (entry.is_regular_file())
        test::fs::create_hard_link(entry, where / entry.path().filename());
    }
  }
  void link(const path& file) const {
    test::fs::remove(box / file.filename());
    test::fs::create_hard_link(file, box / file.filename());
  }
  void put(const std::string& name, const std::string& which) const {
    test::fs::remove(box / name);
    if (which == "absent") return;
    const path file = (which == "old" ? old_dir : new_dir) / name;
    REQUIRE_MESSAGE(test::fs::exists(file), "no ", which, " ", name);
    link(file);
  }
};

struct State {
  const char* cairn;
  const char* index;
  const Values* opens;  // nullptr: nothing
  Format format;
  bool warning;
};

void check_states(const TwoSaves& saves, std::span<const State> states) {
  for (const State& state : states) {
    INFO("P.cairn ", state.cairn, ", P.index ", state.index);
    saves.put("m.cairn", state.cairn);
    saves.put("m.index", state.index);
    const auto checkpoint = Checkpoint::open(saves.prefix);
    if (state.opens == nullptr) {
      CHECK(has(refusal(checkpoint), "has shards, but neither m.cairn nor m.index"));
      continue;
    }
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(*test::values_of(*checkpoint) == *state.opens);
    CHECK(checkpoint->format() == state.format);
    CHECK(checkpoint->warnings().size() == (state.warning ? 1 : 0));
    if (state.warning) CHECK(has(checkpoint->warnings()[0], "is not the one that it records"));
    const auto seen = checkpoint->verify();
    REQUIRE(seen);
    CHECK(seen->damage.empty());
  }
}

TEST_CASE("each commit state of a save over a save opens the checkpoint that FORMAT.md says") {
  const TwoSaves saves({}, {});
  const State states[] = {
      {"absent", "absent", nullptr, {}, false},
      {"absent", "old", &kOld, Format::TensorFlow, false},
      {"absent", "new", &kNew, Format::TensorFlow, false},
      {"old", "absent", &kOld, Format::Cairn, false},
      {"old", "old", &kOld, Format::Cairn, false},
      {"old", "new", &kNew, Format::TensorFlow, true},
      {"new", "absent", &kNew, Format::Cairn, false},
      {"new", "old", &kOld, Format::TensorFlow, true},
      {"new", "new", &kNew, Format::Cairn, false},
  };
  check_states(saves, states);
}

TEST_CASE("a save without P.index over one that has it commits when P.index goes") {
  const TwoSaves saves({}, {.tensorflow_index = false});
  const State states[] = {
      {"old", "old", &kOld, Format::Cairn, false},
      {"new", "old", &kOld, Format::TensorFlow, true},
      {"new", "absent", &kNew, Format::Cairn, false},
  };
  check_states(saves, states);
}

TEST_CASE("a save with P.index over one without commits when P.index appears") {
  const TwoSaves saves({.tensorflow_index = false}, {});
  const State states[] = {
      {"old", "absent", &kOld, Format::Cairn, false},
      {"old", "new", &kNew, Format::TensorFlow, true},
      {"new", "new", &kNew, Format::Cairn, false},
  };
  check_states(saves, states);
}

// ---- TensorFlow, which knows nothing of P.cairn

// A prefix of TensorFlow's with P.cairn beside it.
path imported(const Sandbox& box, const std::string& golden = "saver_walk/saved/train2-8") {
  test::copy_checkpoint(test::golden("tensorflow/" + golden), box / "m");
  const auto done = import_index(box / "m");
  REQUIRE_MESSAGE(done, refusal(done));
  return box / "m";
}

void tensorflow_writes_again(const path& prefix, const std::string& golden) {
  const path from = test::golden("tensorflow/" + golden);
  for (const std::string suffix : {".data-00000-of-00001", ".index"})
    write_file(prefix.string() + suffix, test::read_file(from.string() + suffix));
}

TEST_CASE("where TensorFlow wrote other values under the same names, they are what opens") {
  Sandbox box;
  const path prefix = imported(box);
  const Values before = *test::values_at(prefix);
  tensorflow_writes_again(prefix, "saver_walk/saved/train2-9");
  const auto checkpoint = Checkpoint::open(prefix);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->format() == Format::TensorFlow);
  CHECK(checkpoint->warnings().size() == 1);
  const Values values = *test::values_of(*checkpoint);
  CHECK(values == *test::values_at(test::golden("tensorflow/saver_walk/saved/train2-9")));
  CHECK(values != before);
}

TEST_CASE("a TensorFlow save that died between data and index is found out at the first use") {
  Sandbox box;
  const path prefix = imported(box);
  write_file(
      prefix.string() + ".data-00000-of-00001",
      test::read_file(test::golden("tensorflow/saver_walk/saved/train2-9.data-00000-of-00001")));
  for (const Verify verify : {Verify::Lazy, Verify::None}) {
    OpenOptions options;
    options.verify = verify;
    const auto checkpoint = Checkpoint::open(prefix, options);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    REQUIRE(checkpoint->warnings().size() == 1);
    CHECK(has(refusal(test::values_of(*checkpoint)), "Corrupt: "));
  }
}

TEST_CASE("an index that TensorFlow is writing is an error, never the old values") {
  Sandbox box;
  const path prefix = imported(box);
  const std::string index = test::read_file(prefix.string() + ".index");
  for (const std::size_t size : {std::size_t{0}, std::size_t{30}, index.size() - 1}) {
    write_file(prefix.string() + ".index", index.substr(0, size));
    CHECK(has(refusal(Checkpoint::open(prefix)), "Corrupt: " + prefix.string() + ".index"));
  }
}

TEST_CASE("a plain copy of the directory opens with a warning, and damage in it is found") {
  Sandbox box;
  test::save(box / "a/m", {kOld});
  test::fs::copy(box / "a", box / "b");
  for (const Verify verify : {Verify::Lazy, Verify::None, Verify::Full}) {
    OpenOptions options;
    options.verify = verify;
    const auto checkpoint = Checkpoint::open(box / "b/m", options);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->format() == Format::Cairn);
    REQUIRE(checkpoint->warnings().size() == 1);
    CHECK(has(checkpoint->warnings()[0], "touched or copied"));
    CHECK(*test::values_of(*checkpoint) == kOld);
  }
  const std::string name = "m.data-00000-of-00001";
  std::string bytes = test::read_file(box / "b" / name);
  bytes[(*Checkpoint::open(box / "b/m")).tensor("v")->offset_bytes()] ^= 1;
  write_file(box / "b" / name, bytes);
  OpenOptions unchecked;
  unchecked.verify = Verify::None;
  const auto values = test::values_at(box / "b/m", unchecked);
  CHECK(has(refusal(values), "tensor \"v\" is damaged"));
}

// Inode, size and times of a directory and of all in it.
std::map<std::string, std::vector<std::int64_t>> stamps_of(const test::fs::path& directory) {
  std::map<std::string, std::vector<std::int64_t>> stamps;
  const auto add = [&](const std::string& path) {
    struct stat seen{};
    REQUIRE(::stat(path.c_str(), &seen) == 0);
    stamps[path] = {static_cast<std::int64_t>(seen.st_ino),
                    seen.st_size,
                    seen.st_mtim.tv_sec,
                    seen.st_mtim.tv_nsec,
                    seen.st_ctim.tv_sec,
                    seen.st_ctim.tv_nsec};
  };
  add(directory.string());
  for (const auto& entry : test::fs::directory_iterator(directory)) add(entry.path().string());
  return stamps;
}

TEST_CASE("no open, no verify and no restore changes a file or a name, of a copied one either") {
  Sandbox box;
  test::save(box / "a/m", {kOld});
  test::fs::copy(box / "a", box / "b");
  const auto before = stamps_of(box / "b");
  for (int round = 0; round < 2; ++round) {
    const auto checkpoint = Checkpoint::open(box / "b/m");
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->verify()->damage.empty());
    CHECK(has(checkpoint->warnings()[0], "touched or copied"));
    REQUIRE(restore(box / "b/m"));
  }
  CHECK(stamps_of(box / "b") == before);
}

TEST_CASE("a P.index that was only touched is no news") {
  Sandbox box;
  test::save(box / "m", {kOld});
  test::fs::last_write_time(box / "m.index",
                            test::fs::file_time_type::clock::now() - std::chrono::hours(1));
  const auto checkpoint = Checkpoint::open(box / "m");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->format() == Format::Cairn);
  CHECK(checkpoint->warnings().empty());
}

TEST_CASE("a P.index that rots behind an unchanged file is found by verify") {
  Sandbox box;
  test::save(box / "m", {kOld});
  const auto written = test::fs::last_write_time(box / "m.index");
  {
    std::fstream file(box / "m.index", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(10);
    file.put('x');
  }
  test::fs::last_write_time(box / "m.index", written);
  const auto checkpoint = Checkpoint::open(box / "m");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  const auto seen = checkpoint->verify();
  REQUIRE_FALSE(seen.has_value());
  CHECK(seen.error().code == Code::Corrupt);
  CHECK(has(seen.error().what, "m.index: is damaged"));
  TransferOptions replace;
  replace.replace = true;
  REQUIRE(export_index(box / "m", Format::TensorFlow, replace).has_value());
  CHECK((*Checkpoint::open(box / "m")).verify().has_value());
}

TEST_CASE("a P.cairn whose shards are gone is called a leftover") {
  Sandbox box;
  const path prefix = imported(box);
  test::fs::remove(prefix.string() + ".index");
  test::fs::remove(prefix.string() + ".data-00000-of-00001");
  const std::string said = refusal(Checkpoint::open(prefix));
  CHECK(said.starts_with("NotFound: "));
  CHECK(has(said, "m.cairn is a leftover of a checkpoint that was removed"));
}

TEST_CASE("a shard that was cut or grew is refused by either index, or read right") {
  Sandbox box;
  const Values values = *test::values_at(imported(box));
  const path shard = box / "m.data-00000-of-00001";
  const std::string whole = test::read_file(shard);
  for (const std::string& bytes : {std::string(), whole.substr(0, whole.size() - 1), whole + "x"}) {
    write_file(shard, bytes);
    const std::string said = refusal(Checkpoint::open(box / "m"));
    CHECK(has(said, "Corrupt: " + shard.string()));
    CHECK(has(said, std::to_string(bytes.size()) + " bytes"));
  }
  test::fs::remove(box / "m.cairn");
  for (const std::string& bytes : {std::string(), whole.substr(0, whole.size() - 1)}) {
    write_file(shard, bytes);
    CHECK(has(refusal(Checkpoint::open(box / "m")), "Corrupt: " + shard.string()));
  }
  write_file(shard, whole + "x");  // TensorFlow allows bytes behind the last tensor
  CHECK(*test::values_at(box / "m") == values);
}

// ---- What import makes of it

TEST_CASE("import refreshes a P.cairn that TensorFlow made stale, without replace") {
  Sandbox box;
  const path prefix = imported(box);
  tensorflow_writes_again(prefix, "saver_walk/saved/train2-9");
  const auto done = import_index(prefix);
  REQUIRE_MESSAGE(done, refusal(done));
  const auto checkpoint = Checkpoint::open(prefix);
  CHECK(checkpoint->format() == Format::Cairn);
  CHECK(checkpoint->warnings().empty());
  CHECK(*test::values_of(*checkpoint) ==
        *test::values_at(test::golden("tensorflow/saver_walk/saved/train2-9")));
}

TEST_CASE("import beside a current P.cairn changes nothing and says so") {
  Sandbox box;
  const path prefix = imported(box);
  const test::Stamp before = test::stamp(box / "m.cairn");
  const auto done = import_index(prefix);
  REQUIRE_MESSAGE(done, refusal(done));
  REQUIRE(done->warnings.size() == 1);
  CHECK(has(done->warnings[0], "exists already and is up to date"));
  CHECK(test::stamp(box / "m.cairn") == before);
}

TEST_CASE("import after a plain copy checks the bytes and renews the record") {
  Sandbox box;
  test::save(box / "a/m", {kOld});
  test::fs::copy(box / "a", box / "b");
  // A reader writes nothing, so the warning stays, and says what ends it.
  const test::Files copied = test::read_files(box / "b");
  for (int i = 0; i < 2; ++i) {
    const auto checkpoint = Checkpoint::open(box / "b/m");
    REQUIRE(checkpoint);
    REQUIRE(checkpoint->warnings().size() == 1);
    CHECK(has(checkpoint->warnings()[0],
              "'cairn import " + (box / "b/m").string() + "' (import_index)"));
    const auto verified = checkpoint->verify();
    REQUIRE_MESSAGE(verified, refusal(verified));
    CHECK(verified->damage.empty());
    CHECK(test::read_files(box / "b") == copied);
  }
  const auto done = import_index(box / "b/m");
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK((*Checkpoint::open(box / "b/m")).warnings().empty());
  CHECK(*test::values_at(box / "b/m") == kOld);

  test::fs::copy(box / "a", box / "c");
  std::string bytes = test::read_file(box / "c/m.data-00000-of-00001");
  bytes.back() ^= 1;
  write_file(box / "c/m.data-00000-of-00001", bytes);
  const test::Stamp before = test::stamp(box / "c/m.cairn");
  CHECK(has(refusal(import_index(box / "c/m")), "Corrupt: "));
  CHECK(test::stamp(box / "c/m.cairn") == before);
}

TEST_CASE("import where P.index was only touched spares the next open reading it") {
  Sandbox box;
  const path prefix = imported(box);
  test::fs::last_write_time(box / "m.index",
                            test::fs::file_time_type::clock::now() - std::chrono::hours(1));
  const test::Stamp before = test::stamp(box / "m.cairn");
  REQUIRE(import_index(prefix));
  CHECK(test::stamp(box / "m.cairn") != before);
  CHECK(has(import_index(prefix)->warnings.at(0), "exists already and is up to date"));
}

TEST_CASE("a P.cairn that is damaged or newer is replaced only where replace is said") {
  Sandbox box;
  const path prefix = imported(box);
  const std::string whole = test::read_file(box / "m.cairn");
  std::string damaged = whole;
  damaged[damaged.size() / 2] ^= 1;
  std::string newer = whole;
  newer[8] = 9;  // the version
  for (const std::string& bytes : {damaged, newer, std::string("zip"), std::string()}) {
    write_file(box / "m.cairn", bytes);
    CHECK(has(refusal(Checkpoint::open(prefix)), "(cairn import --replace)"));
    const std::string said = refusal(import_index(prefix));
    INFO(said);
    CHECK(said != "opened");
    CHECK(has(said, "(cairn import --replace)"));
    CHECK(test::read_file(box / "m.cairn") == bytes);
    TransferOptions options;
    options.replace = true;
    CHECK(refusal(import_index(prefix, options)) == "opened");
    CHECK((*Checkpoint::open(prefix)).format() == Format::Cairn);
  }
}

TEST_CASE("export beside the payload records what it wrote: the next open has no warning") {
  Sandbox box;
  test::save(box / "m", {kOld, {}, {}, {.tensorflow_index = false}});
  REQUIRE(export_index(box / "m", Format::TensorFlow));
  const auto checkpoint = Checkpoint::open(box / "m");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->format() == Format::Cairn);
  CHECK(checkpoint->warnings().empty());
  test::fs::remove(box / "m.cairn");
  CHECK(*test::values_at(box / "m") == kOld);
}

}  // namespace
}  // namespace cairn
