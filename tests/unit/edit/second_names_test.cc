// When a second name of a file is a hard link: docs/decisions/0015.

#include <doctest/doctest.h>

#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::Sandbox;
using test::fs::path;

TransferOptions to(const path& output) {
  TransferOptions options;
  options.output = output;
  return options;
}

struct Files {
  Sandbox box;
  path ours = box / "ours";
  path theirs = box / "theirs.safetensors";

  Files() {
    test::save(ours, {{{"a", test::floats({1, 2, 3})}}});
    REQUIRE(convert(ours, Format::Safetensors, to(theirs)));
    CHECK(links() == 1);
  }
  std::uintmax_t links() const { return test::fs::hard_link_count(theirs); }
};

TEST_CASE("a file that tools may write into gets no hard link unless one is asked for") {
  const Files files;
  const path sources[] = {files.theirs};
  Renaming renaming;
  renaming.patterns = {{"^", "new/"}};
  CHECK(merge(sources, to(files.box / "m"))->used > Link::Hard);
  CHECK(rename_tensors(files.theirs, renaming, to(files.box / "r"))->transfer.used > Link::Hard);
  CHECK(export_index(files.theirs, Format::TensorFlow, to(files.box / "e"))->used > Link::Hard);
  CHECK(export_index(files.theirs, Format::Safetensors, to(files.box / "s"))->used > Link::Hard);
  for (const Format target : {Format::Cairn, Format::TensorFlow, Format::Safetensors, Format::Npz})
    CHECK(convert(files.theirs, target, to(files.box / ("c" + std::to_string(int(target))))));
  CHECK(files.links() == 1);
  TransferOptions hard = to(files.box / "h");
  hard.link = Link::Hard;
  CHECK(merge(sources, hard)->used == Link::Hard);
  CHECK(files.links() == 2);
}

TEST_CASE("an index that is put beside a file is over its bytes") {
  const Files files;
  CHECK(export_index(files.theirs, Format::TensorFlow)->used == Link::Hard);
  CHECK(files.links() == 2);
}

TEST_CASE("a shard of our own, into which nobody writes, is linked") {
  const Files files;
  const path sources[] = {files.ours};
  CHECK(merge(sources, to(files.box / "m"))->used == Link::Hard);
  CHECK(export_index(files.ours, Format::TensorFlow, to(files.box / "e"))->used == Link::Hard);
  CHECK(export_index(files.ours, Format::Safetensors, to(files.box / "s"))->used == Link::Hard);
}

TEST_CASE("a move leaves no second name, and links what it moves") {
  const Files files;
  const auto moved = move_checkpoint(files.theirs, to(files.box / "moved.safetensors"));
  REQUIRE(moved);
  CHECK(moved->transfer.used == Link::Hard);
  CHECK(test::fs::hard_link_count(files.box / "moved.safetensors") == 1);
}

}  // namespace
}  // namespace cairn
