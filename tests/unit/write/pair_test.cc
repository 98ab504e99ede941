// P.index and P.cairn get their names one after the other. In between, and after a publisher that
// died or failed there, the checkpoint is the old one or the new one, whole.

#include <doctest/doctest.h>

#include "cairn/copy.h"
#include "cairn/edit.h"
#include "cairn/salvage.h"
#include "lib/write/publisher.h"
#include "lib/write/temp_file.h"
#include "tests/unit/saver/saver_parts.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::fs::path;
using Names = std::vector<std::string>;

const char* const kTail = ".cairn-tmp-0123456789abcdef";

// A float that TensorFlow can hold, one that P.cairn alone can, metadata and a pin.
void save_mixed(const path& prefix) {
  WriterOptions options;
  options.metadata = {{"who", "me"}};
  auto writer = Writer::create(
      prefix, {{"norm", DType::Float32, {2}}, {"fine", DType::Opaque, {4}, {"F4", 4}}}, options);
  REQUIRE_MESSAGE(writer, refusal(writer));
  const std::array<float, 2> norm{1, 2};
  const std::array fine{std::byte{0x12}, std::byte{0x34}};
  REQUIRE(writer->write("norm", std::as_bytes(std::span(norm))));
  REQUIRE(writer->write("fine", fine));
  REQUIRE(writer->commit());
  auto saver = Saver::open(prefix.parent_path());
  REQUIRE(saver);
  const auto pinned = saver->pin(prefix);
  REQUIRE_MESSAGE(pinned, refusal(pinned));
}

Names names_in(const path& prefix) {
  const auto checkpoint = Checkpoint::open(prefix);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->warnings().empty());
  CHECK(checkpoint->format() == Format::Cairn);
  CHECK(checkpoint->metadata("who") == "me");
  CHECK(checkpoint->metadata("cairn.pinned").has_value());
  const auto verified = checkpoint->verify();
  REQUIRE(verified);
  CHECK(verified->damage.empty());
  Names names;
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i)
    names.emplace_back(checkpoint->tensor_at(i).name());
  return names;
}

const Names kOld{"fine", "norm"};
const Names kNew{"fine", "renamed"};

bool has_temporaries(const path& dir) {
  return std::ranges::any_of(test::read_files(dir),
                             [](const auto& file) { return has(file.first, ".cairn-tmp-"); });
}

// A checkpoint whose rename in place has its new P.index and still its old P.cairn.
struct HalfRenamed {
  Sandbox box;
  path prefix = box / "m";
  path waiting = prefix.string() + ".cairn" + kTail;

  HalfRenamed() {
    save_mixed(prefix);
    const path old = box / "kept";
    test::fs::create_hard_link(prefix.string() + ".cairn", old);
    rename("norm", "renamed");
    test::fs::rename(prefix.string() + ".cairn", waiting);
    test::fs::rename(old, prefix.string() + ".cairn");
  }

  void rename(const char* from, const char* to) const {
    TransferOptions options;
    options.replace = true;
    const auto done = rename_tensors(prefix, {{{from, to}}, {}}, options);
    REQUIRE_MESSAGE(done, refusal(done));
  }
};

TEST_CASE("between the names of P.index and P.cairn the new checkpoint opens, whole") {
  const HalfRenamed half;
  CHECK(names_in(half.prefix) == kNew);
  SUBCASE("also while its writer lives") {
    const auto directory = os::Directory::open(half.box.root());
    const auto held = directory->open_file(half.waiting.filename().string(), os::Links::Refuse);
    REQUIRE(held);
    REQUIRE(*held->try_lock());
    CHECK(names_in(half.prefix) == kNew);
    const auto lock = internal::lock_prefix(*directory, "m", {});
    REQUIRE(lock);
    CHECK(test::fs::exists(half.waiting));
  }
  SUBCASE("also as a copy, and as what is salvaged") {
    TransferOptions to;
    to.output = half.box / "copy";
    REQUIRE(copy_checkpoint(half.prefix, to));
    CHECK(names_in(to.output) == kNew);
    SalvageOptions rescue;
    rescue.output = half.box / "rescued";
    const auto salvaged = salvage(half.prefix, rescue);
    REQUIRE_MESSAGE(salvaged, refusal(salvaged));
    CHECK(Checkpoint::open(rescue.output)->tensor_count() == 2);
  }
}

TEST_CASE("whoever publishes next gives the waiting P.cairn its name") {
  const HalfRenamed half;
  Names expected = kNew;
  SUBCASE("an import") {
    const auto done = import_index(half.prefix);
    REQUIRE_MESSAGE(done, refusal(done));
  }
  SUBCASE("an import that replaces") {
    TransferOptions options;
    options.replace = true;
    REQUIRE(import_index(half.prefix, options));
  }
  SUBCASE("another rename") {
    half.rename("renamed", "once more");
    expected = {"fine", "once more"};
  }
  SUBCASE("a repair") { REQUIRE(repair_catalog(half.box.root(), "checkpoint", {})); }
  SUBCASE("a Saver") {
    auto saver = Saver::open(half.box.root());
    REQUIRE(saver);
    const auto pruned = saver->prune(false);
    REQUIRE_MESSAGE(pruned, refusal(pruned));
  }
  SUBCASE("a pin") {
    auto saver = Saver::open(half.box.root());
    REQUIRE(saver);
    const auto pinned = saver->pin(half.prefix);
    REQUIRE_MESSAGE(pinned, refusal(pinned));
  }
  CHECK(names_in(half.prefix) == expected);
  CHECK_FALSE(has_temporaries(half.box.root()));
}

TEST_CASE("where a temporary P.cairn is not the one of P.index, or not whole, P.index decides") {
  const HalfRenamed half;
  SUBCASE("another P.index") {
    test::write_file(half.prefix.string() + ".index",
                     test::read_file(test::golden("tensorflow/saver_walk/saved/train2-9.index")));
    test::write_file(
        half.prefix.string() + ".data-00000-of-00001",
        test::read_file(test::golden("tensorflow/saver_walk/saved/train2-9.data-00000-of-00001")));
  }
  SUBCASE("torn") {
    const std::string bytes = test::read_file(half.waiting);
    test::write_file(half.waiting, bytes.substr(0, bytes.size() / 2));
  }
  SUBCASE("a shard is gone") { test::fs::remove(half.prefix.string() + ".data-00001-of-00002"); }
  const auto checkpoint = Checkpoint::open(half.prefix);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->format() == Format::TensorFlow);
  REQUIRE(checkpoint->warnings().size() == 1);
  CHECK(has(checkpoint->warnings()[0], "is not the one that it records"));
  const std::string own = test::read_file(half.prefix.string() + ".cairn");
  const auto directory = os::Directory::open(half.box.root());
  REQUIRE(internal::lock_prefix(*directory, "m", {}));
  CHECK(test::read_file(half.prefix.string() + ".cairn") == own);
}

TEST_CASE("a P.index that waits beside a P.cairn that stands alone gets its name") {
  Sandbox box;
  save_mixed(box / "m");
  test::fs::rename(box / "m.index", (box / "m.index").string() + kTail);
  CHECK(names_in(box / "m") == kOld);
  auto saver = Saver::open(box.root());
  REQUIRE(saver);
  REQUIRE(saver->prune(false));
  CHECK(test::fs::exists(box / "m.index"));
  CHECK(names_in(box / "m") == kOld);
  CHECK_FALSE(has_temporaries(box.root()));
}

}  // namespace
}  // namespace cairn
