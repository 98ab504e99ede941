#include <doctest/doctest.h>

#include "lib/open/catalog.h"
#include "lib/read/names.h"
#include "tests/unit/format/v1_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::field;
using test::has;
using test::refusal;
using test::Sandbox;
using test::v1_file;
using test::v1_tensor;
using test::V1Sample;
using test::Value;
using test::Values;
using test::varints;
using test::write_file;
using test::fs::path;

// ---- Arranging

using Names = std::vector<std::string>;

const V1Sample kScalar = v1_tensor("s", DType::Int32, {}, field(7, varints({7})));
const V1Sample kBytes = v1_tensor("b", DType::Uint8, {3}, field(7, varints({1, 2, 3})));
const V1Sample kText = v1_tensor("t", DType::String, {2}, field(8, "one") + field(8, ""));

// Row `row` of a 2×2 variable.
V1Sample row_of_parts(std::int64_t row) {
  return {"p",
          DType::Int16,
          {2, 2},
          {{{{row, 1}, {0, 2}}, field(7, varints({10 * row, 10 * row + 1}))}}};
}

const Values kWhole{{"s", test::int_scalar(7)},
                    {"b", {DType::Uint8, {3}, "\x01\x02\x03"}},
                    {"t", {DType::String, {2}, "3:one0:"}}};
const Value kParts{DType::Int16, {2, 2}, std::string("\0\0\1\0\x0a\0\x0b\0", 8)};

// TensorFlow's word for all files of a sharded checkpoint. No trigraph, please.
std::string pattern(const std::string& base, int count) {
  return base + "-\?\?\?\?\?-of-0000" + std::to_string(count);
}

// A checkpoint of two files: tensors in either, a partitioned variable in both.
Values write_sharded(const Sandbox& box, const std::string& base) {
  write_file(box / (base + "-00000-of-00002"), v1_file({kScalar, row_of_parts(1)}));
  write_file(box / (base + "-00001-of-00002"), v1_file({kBytes, kText, row_of_parts(0)}));
  Values values = kWhole;
  values["p"] = kParts;
  return values;
}

// ---- Opening

TEST_CASE("a V1 checkpoint opens by its file and by its catalog, with every value") {
  for (const char* given : {"tensorflow/v1/old.ckpt-3", "tensorflow/v1"}) {
    const auto checkpoint = Checkpoint::open(test::golden(given));
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->format() == Format::TensorFlowV1);
    CHECK(checkpoint->prefix().filename() == "old.ckpt-3");
    CHECK(checkpoint->step() == 3);
    CHECK(checkpoint->tensor_count() == 11);
    CHECK(checkpoint->shard_at(0).name == "old.ckpt-3");
    CHECK(checkpoint->warnings().empty());
    const auto seen = checkpoint->verify();
    REQUIRE_MESSAGE(seen, refusal(seen));
    CHECK(seen->damage.empty());
    CHECK(seen->bytes_checked == 800'253);
  }
}

TEST_CASE("V1 values are views, aligned, in every way of access") {
  Sandbox box;
  write_file(box / "m-3", v1_file({kBytes, kScalar, kText}));
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    for (const Verify verify : {Verify::Lazy, Verify::Full, Verify::None}) {
      OpenOptions options;
      options.access = access;
      options.verify = verify;
      const auto checkpoint = Checkpoint::open(box / "m-3", options);
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(*test::values_of(*checkpoint) == kWhole);
      const auto view = checkpoint->tensor("s")->as<std::int32_t>();
      REQUIRE_MESSAGE(view, refusal(view));
      CHECK((*view)[0] == 7);
      CHECK(reinterpret_cast<std::uintptr_t>(view->data()) % 64 == 0);
      CHECK(checkpoint->prefetch());
    }
  }
}

TEST_CASE("an open V1 checkpoint outlives its file, and what is written over it") {
  Sandbox box;
  write_file(box / "m", v1_file({kScalar, kBytes, kText}));
  const auto checkpoint = Checkpoint::open(box / "m");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  std::filesystem::resize_file(box / "m", 0);
  std::filesystem::remove(box / "m");
  CHECK(*test::values_of(*checkpoint) == kWhole);
}

TEST_CASE("a sharded V1 checkpoint opens by prefix, pattern, each file, graph and catalog") {
  Sandbox box;
  const Values values = write_sharded(box, "m-3");
  write_file(box / "m-3.meta", "graph");
  write_file(box / "checkpoint", "model_checkpoint_path: \"" + pattern("m-3", 2) + "\"\n");
  for (const std::string& name : Names{"m-3", pattern("m-3", 2), "m-3-00000-of-00002",
                                       "m-3-00001-of-00002", "m-3.meta", "checkpoint", ""}) {
    INFO("given: ", name);
    const auto checkpoint = Checkpoint::open(box / name);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->format() == Format::TensorFlowV1);
    CHECK(checkpoint->prefix() == box / "m-3");
    CHECK(checkpoint->step() == 3);
    CHECK(checkpoint->shard_count() == 2);
    CHECK(checkpoint->tensor("b")->shard() == "m-3-00001-of-00002");
    CHECK(checkpoint->tensor("p")->partitioned());
    CHECK(*test::values_of(*checkpoint) == values);
  }
  CHECK(*latest_checkpoint(box.root()) == box / pattern("m-3", 2));
  CHECK(latest_whole(box.root())->prefix == box / pattern("m-3", 2));
}

TEST_CASE("V1 shards may be links that stay below their directory, and others only when followed") {
  Sandbox box;
  std::filesystem::create_directories(box / "d/..data");
  std::filesystem::create_directories(box / "store");
  const Values values = write_sharded(box, "m");
  for (const std::string& shard : Names{"m-00000-of-00002", "m-00001-of-00002"}) {
    std::filesystem::copy_file(box / shard, box / ("d/..data/" + shard));
    std::filesystem::rename(box / shard, box / ("store/" + shard));
    std::filesystem::create_symlink("..data/" + shard, box / ("d/" + shard));
  }
  CHECK(*test::values_at(box / "d/m") == values);
  std::filesystem::remove(box / "d/m-00001-of-00002");
  std::filesystem::create_symlink("../store/m-00001-of-00002", box / "d/m-00001-of-00002");
  const std::string said = refusal(Checkpoint::open(box / "d/m"));
  INFO(said);
  CHECK(said.starts_with("Unsafe: "));
  CHECK(has(said, "--follow-links"));
  OpenOptions follow;
  follow.follow_links = true;
  CHECK(*test::values_at(box / "d/m", follow) == values);
}

TEST_CASE("a missing V1 shard is named, whichever way the others are given") {
  Sandbox box;
  write_sharded(box, "m");
  std::filesystem::remove(box / "m-00001-of-00002");
  for (const std::string& name : Names{"m", pattern("m", 2), "m-00000-of-00002"}) {
    const std::string said = refusal(Checkpoint::open(box / name));
    INFO(said);
    CHECK(said.starts_with("NotFound: "));
    CHECK(has(said, "m-00001-of-00002: is missing"));
  }
  std::filesystem::remove(box / "m-00000-of-00002");
  CHECK(has(refusal(Checkpoint::open(box / pattern("m", 2))), "no checkpoint there"));
}

TEST_CASE("several V1 checkpoints under one prefix are not chosen from") {
  Sandbox box;
  const Values values = write_sharded(box, "m");
  write_file(box / "m-00000-of-00001", v1_file({kScalar}));
  CHECK(has(refusal(Checkpoint::open(box / "m")), "Invalid: "));
  CHECK(*test::values_at(box / pattern("m", 2)) == values);
  CHECK(test::values_at(box / "m-00000-of-00001")->size() == 1);
}

TEST_CASE("files that disagree about a tensor are refused") {
  Sandbox box;
  write_file(box / "m-00000-of-00002", v1_file({kScalar}));
  write_file(box / "m-00001-of-00002", v1_file({kScalar}));
  CHECK(has(refusal(Checkpoint::open(box / "m")), "has the same slice in two files"));
  write_file(box / "m-00001-of-00002",
             v1_file({v1_tensor("s", DType::Int32, {1}, field(7, varints({1})))}));
  CHECK(has(refusal(Checkpoint::open(box / "m")), "has a different dtype or shape"));
}

TEST_CASE("an index beside V1 files wins, however they are given") {
  Sandbox box;
  write_sharded(box, "m");
  write_file(box / "one", v1_file({kScalar}));
  const Values newer{{"v", test::int_scalar(1)}};
  test::save(box / "m", {newer});
  test::save(box / "one", {newer});
  for (const std::string& name : Names{"m", pattern("m", 2), "m-00000-of-00002", "one"}) {
    INFO("given: ", name);
    CHECK(*test::values_at(box / name) == newer);
  }
}

TEST_CASE("a prefix that is like others is not taken for them") {
  Sandbox box;
  write_sharded(box, "model");
  CHECK(has(refusal(Checkpoint::open(box / "mod")), "no checkpoint there"));
  CHECK(has(refusal(Checkpoint::open(box / "model-00000")), "no checkpoint there"));
  for (int i = 0; i < 2; ++i)
    write_file(box / ("train-0000" + std::to_string(i) + "-of-00002"), "records");
  CHECK(has(refusal(Checkpoint::open(box / "train")), "the directory has model"));
}

TEST_CASE("a damaged V1 file is refused when it is opened, with the byte") {
  Sandbox box;
  std::string file = v1_file({kScalar, kBytes});
  file[40] = static_cast<char>(file[40] ^ 1);
  write_file(box / "m", file);
  const std::string said = refusal(Checkpoint::open(box / "m"));
  INFO(said);
  CHECK(said.starts_with("Corrupt: " + (box / "m").string() + ": byte "));
  CHECK(has(said, "is damaged: stored checksum"));
}

// ---- What becomes of it

TEST_CASE("a V1 checkpoint is converted, and neither imported nor exported") {
  Sandbox box;
  const Values values = write_sharded(box, "m-3");
  write_file(box / "m-3.meta", "graph");
  CHECK(has(refusal(import_index(box / "m-3")), "convert() (cairn convert)"));
  CHECK(has(refusal(export_index(box / "m-3", Format::TensorFlow)), "convert() (cairn convert)"));
  for (const Format target : {Format::Cairn, Format::TensorFlow}) {
    TransferOptions options;
    options.output = box / ("new-" + std::string(name(target)));
    const auto done = convert(box / "m-3", target, options);
    REQUIRE_MESSAGE(done, refusal(done));
    const auto checkpoint = Checkpoint::open(options.output);
    CHECK(*test::values_of(*checkpoint) == values);
    CHECK(checkpoint->verify()->damage.empty());
    CHECK(test::read_file(options.output.string() + ".meta") == "graph");
  }
  TransferOptions options;
  options.output = box / "s";
  CHECK(has(refusal(convert(box / "m-3", Format::Safetensors, options)), "Unsupported: "));
  options.allow_lossy = true;
  const auto done = convert(box / "m-3", Format::Safetensors, options);
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->not_nameable == std::vector<std::string>{"t"});
  CHECK(test::values_at(box / "s.safetensors")->at("p") == kParts);
}

// ---- Names

TEST_CASE("names of V1 shards are told from other names") {
  const auto one = internal::v1_name("a-b-00001-of-00003");
  REQUIRE(one.has_value());
  CHECK(one->base == "a-b");
  CHECK(one->shard == 1);
  CHECK(one->count == 3);
  CHECK(internal::v1_file_name("a-b", 1, 3) == "a-b-00001-of-00003");
  CHECK(internal::v1_file_name("a", 123'456, 200'000) == "a-123456-of-200000");
  CHECK(internal::v1_name(pattern("m", 3))->shard == std::nullopt);
  CHECK(internal::without_v1_tail(pattern("m-3", 3)) == "m-3");
  CHECK(internal::without_v1_tail("m-3") == "m-3");
  for (const char* name :
       {"", "m", "m-00000-of-00000", "m-00003-of-00003", "m-1-of-3", "-00000-of-00001",
        "00000-of-00001", "m-00000-of-00001x", "-of-", "m.data-00000-of-00001",
        "m-\?\?\?\?-of-00001", "m-00000-of-99999999999"}) {
    INFO("name: ", name);
    CHECK_FALSE(internal::v1_name(name).has_value());
  }
}

}  // namespace
}  // namespace cairn
