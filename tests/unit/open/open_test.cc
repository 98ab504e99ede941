#include <doctest/doctest.h>

#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::Values;
using test::write_file;
using test::fs::path;

const Values kValues{{"b", test::floats({1, 2, 3})}, {"v1", test::int_scalar(10)}};

std::string shard_of(const path& prefix) { return prefix.string() + ".data-00000-of-00001"; }

void write_catalog(const path& dir, const std::string& latest) {
  write_file(dir / "checkpoint", "model_checkpoint_path: \"" + latest + "\"\n");
}

// ---- Paths that lead to a checkpoint

TEST_CASE("a checkpoint opens by its prefix and by each of its files") {
  Sandbox box;
  const path prefix = box / "train-7";
  test::save(prefix, {kValues, {}, {}, {.meta_graph = "graph"}});
  for (const std::string suffix : {"", ".index", ".cairn", ".meta", ".data-00000-of-00001"}) {
    INFO("suffix: ", suffix);
    const auto checkpoint = Checkpoint::open(prefix.string() + suffix);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->prefix() == prefix);
    CHECK(checkpoint->format() == Format::Cairn);
    CHECK(checkpoint->warnings().empty());
    CHECK(*test::values_of(*checkpoint) == kValues);
    CHECK(checkpoint->step() == 7);
  }
}

TEST_CASE("a directory opens what its catalog names, and so does the catalog") {
  Sandbox box;
  test::save(box / "m-1", {{{"v", test::int_scalar(1)}}});
  test::save(box / "m-2", {{{"v", test::int_scalar(2)}}});
  write_catalog(box.root(), "m-1");
  for (const path& given : {box.root(), box / "", box / "checkpoint", box / "."}) {
    INFO("given: ", given.string());
    const auto checkpoint = Checkpoint::open(given);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->prefix().filename() == "m-1");
    CHECK(test::values_of(*checkpoint)->at("v") == test::int_scalar(1));
  }
}

TEST_CASE("a SavedModel directory opens its variables") {
  Sandbox box;
  test::save(box / "model/variables/variables", {kValues});
  write_file(box / "model/saved_model.pb", "");
  CHECK(*test::values_at(box / "model") == kValues);
  std::filesystem::remove_all(box / "model/variables/");
  CHECK(has(refusal(Checkpoint::open(box / "model")), "NotFound"));
}

TEST_CASE("a SavedModel whose variables have no index is said to be without variables") {
  Sandbox box;
  std::filesystem::create_directories(box / "model/variables");
  write_file(box / "model/saved_model.pb", "");
  CHECK(has(refusal(Checkpoint::open(box / "model")), "is a SavedModel without variables"));
}

TEST_CASE("a safetensors file opens, linked to a universal shard or made by hand") {
  Sandbox box;
  test::save(box / "m", {kValues});
  std::filesystem::create_hard_link(shard_of(box / "m"), box / "linked.safetensors");
  const auto linked = Checkpoint::open(box / "linked.safetensors");
  REQUIRE_MESSAGE(linked, refusal(linked));
  CHECK(linked->format() == Format::Safetensors);
  CHECK(linked->prefix() == box / "linked");
  CHECK(*test::values_of(*linked) == kValues);

  const std::string json = R"({"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(json.size());
  file += json + "abc";
  for (const char* name : {"hand.safetensors", "hand.bin", ".safetensors"}) {
    write_file(box / name, file);
    const auto values = test::values_at(box / name);
    REQUIRE_MESSAGE(values, refusal(values));
    CHECK(values->at("x") == test::Value{DType::Uint8, {3}, "abc"});
  }
  CHECK((*Checkpoint::open(box / "hand.bin")).prefix() == box / "hand.bin");
  CHECK((*Checkpoint::open(box / ".safetensors")).prefix() == box / "");
}

TEST_CASE("a safetensors header of more than 100,000,000 bytes opens on request only") {
  const Sandbox box;
  const std::string json = R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  const auto file_of = [&](std::uint64_t json_bytes) {
    std::string bytes;
    format::append_le(bytes, json_bytes);
    bytes += json;
    bytes.append(json_bytes - json.size(), ' ');
    write_file(box / "m.safetensors", bytes + "xyz");
  };
  file_of(100'000'000);
  CHECK(Checkpoint::open(box / "m.safetensors").has_value());
  file_of(100'000'001);
  const std::string why = refusal(Checkpoint::open(box / "m.safetensors"));
  CHECK(has(why, "100000001 bytes, more than the limit of 100000000"));
  CHECK(has(why, "--large-header"));
  OpenOptions options;
  options.formats.large_header = true;
  const auto model = Checkpoint::open(box / "m.safetensors", options);
  REQUIRE_MESSAGE(model.has_value(), model.error().what);
  CHECK(model->tensor("a")->offset_bytes() == 100'000'009);
  const auto bytes = model->tensor("a")->bytes();
  REQUIRE(bytes.has_value());
  CHECK(static_cast<char>(bytes->back()) == 'z');
}

TEST_CASE("a safetensors file whose last tensor ends as TensorFlow's tables do is one") {
  Sandbox box;
  const std::string magic = "\x57\xfb\x80\x8b\x24\x75\x47\xdb";
  const std::string json = R"({"x":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(json.size());
  write_file(box / "x.safetensors", file + json + magic);
  const auto values = test::values_at(box / "x.safetensors");
  REQUIRE_MESSAGE(values, refusal(values));
  CHECK(values->at("x") == test::Value{DType::Uint8, {8}, magic});
}

TEST_CASE("a prefix may end in a slash or be empty, its files then have no base") {
  Sandbox box;
  test::save(box / "m", {kValues, {}, {}, {.cairn_index = false}});
  for (const char* suffix : {".index", ".data-00000-of-00001"})
    std::filesystem::rename((box / "m").string() + suffix, box / suffix);
  CHECK(*test::values_at(box / "") == kValues);
  CHECK(*test::values_at(box / ".index") == kValues);
  const test::WorkingDirectory here(box.root());
  CHECK(*test::values_at("") == kValues);
  CHECK(*test::values_at(".index") == kValues);
}

TEST_CASE("a relative path is relative to the working directory, and stays as it was given") {
  Sandbox box;
  test::save(box / "a/m-3", {kValues});
  write_catalog(box / "a", "m-3");
  const test::WorkingDirectory here(box.root());
  for (const char* given : {"a/m-3", "./a/m-3", "a/../a/m-3"}) {
    const auto checkpoint = Checkpoint::open(given);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->prefix() == path(given));
  }
  CHECK((*Checkpoint::open("a")).prefix() == "a/m-3");
  CHECK((*Checkpoint::open("a/checkpoint")).prefix() == "a/m-3");
  const test::WorkingDirectory inside(box / "a");
  CHECK((*Checkpoint::open("m-3.index")).prefix() == "m-3");
  CHECK(*test::values_at("checkpoint") == kValues);
  CHECK(*test::values_at(".") == kValues);
  CHECK(*test::values_at("../a") == kValues);
}

TEST_CASE("names are literal: spaces, glob characters, bytes that are no UTF-8") {
  Sandbox box;
  for (const std::string name : {"a b", "m[1]*?", "caf\xe9-4", "x.index", "y.data-1",
                                 "z.safetensors", "-", "\xff\xfe", "checkpoint"}) {
    INFO("name: ", name);
    const path prefix = box / name / name;
    test::save(prefix, {kValues});
    for (const std::string suffix : {"", ".index", ".cairn", ".data-00000-of-00001"}) {
      const auto checkpoint = Checkpoint::open(prefix.string() + suffix);
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(checkpoint->prefix() == prefix);
      CHECK(*test::values_of(*checkpoint) == kValues);
    }
  }
}

TEST_CASE("a partitioned variable opens that carries the shard number of a merge") {
  Sandbox box;
  test::copy_checkpoint(test::golden("tensorflow/partitioned/part"), box / "p");
  const Values values = *test::values_at(box / "p");
  const std::string index = test::read_file(box / "p.index");
  auto bundle = format::tensorflow::decode_bundle(format::as_bytes(std::string_view(index)));
  REQUIRE(bundle);
  for (auto& tensor : bundle->tensors) {
    if (!tensor.slices.empty()) tensor.span.shard = 3;
  }
  const auto merged = format::tensorflow::encode_bundle(bundle->header, bundle->tensors);
  REQUIRE(merged);
  write_file(box / "p.index", *merged);
  const auto again = test::values_at(box / "p");
  REQUIRE_MESSAGE(again, refusal(again));
  CHECK(*again == values);
}

TEST_CASE("a name of the longest length that shards allow opens") {
  Sandbox box;
  const std::string name(255 - std::string(".data-00000-of-00001").size(), 'n');
  test::copy_checkpoint(test::golden("tensorflow/saver_walk/saved/train1"), box / name);
  CHECK(test::values_at(box / name)->at("v1") == test::int_scalar(10));
}

// ---- What TensorFlow's merge leaves

// A checkpoint of three shards, whose index counts five: two bundles of the merge had no tensor.
path write_merged(const Sandbox& box) {
  test::copy_checkpoint(test::golden("tensorflow/sharded/shard-42"), box / "m");
  const std::string before = test::read_file(box / "m.index");
  auto bundle = format::tensorflow::decode_bundle(format::as_bytes(before));
  REQUIRE(bundle.has_value());
  bundle->header.num_shards = 5;
  const auto index = format::tensorflow::encode_bundle(bundle->header, bundle->tensors);
  REQUIRE(index.has_value());
  write_file(box / "m.index", *index);
  return box / "m";
}

TEST_CASE(
    "an index that counts shards without a tensor opens, and is written anew for TensorFlow") {
  Sandbox box;
  const auto values = test::values_at(test::golden("tensorflow/sharded/shard-42"));
  const std::string before = test::read_file(test::golden("tensorflow/sharded/shard-42.index"));
  const path merged = write_merged(box);
  const auto checkpoint = Checkpoint::open(merged);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(*test::values_of(*checkpoint) == *values);
  REQUIRE(checkpoint->warnings().size() == 1);
  CHECK(
      has(checkpoint->warnings()[0], "says that there are 5 shards, but every tensor is in the 3"));
  const auto unnamed = unnamed_shards(box.root());
  REQUIRE_MESSAGE(unnamed, refusal(unnamed));
  CHECK(unnamed->empty());

  TransferOptions elsewhere;
  elsewhere.output = box / "imported/m";
  const auto imported = import_index(merged, elsewhere);
  REQUIRE_MESSAGE(imported, refusal(imported));
  CHECK(has(imported->warnings.front(), "says that there are 5 shards"));
  CHECK(test::read_file(box / "imported/m.index") == before);
  CHECK(*test::values_at(elsewhere.output) == *values);

  REQUIRE(import_index(merged));
  CHECK((*Checkpoint::open(merged)).warnings().empty());
  CHECK(has(refusal(export_index(merged, Format::TensorFlow)), "Exists: "));
  TransferOptions replace;
  replace.replace = true;
  REQUIRE(export_index(merged, Format::TensorFlow, replace));
  CHECK(test::read_file(box / "m.index") == before);
  CHECK((*Checkpoint::open(merged)).format() == Format::Cairn);
  CHECK(*test::values_at(merged) == *values);
}

TEST_CASE("shards under other numbers are taken only where all are there, and none that is meant") {
  Sandbox box;
  const path merged = write_merged(box);
  write_file(merged.string() + ".data-00001-of-00005", "meant");
  CHECK(has(refusal(Checkpoint::open(merged)), "m.data-00000-of-00005"));
  std::filesystem::remove(merged.string() + ".data-00001-of-00005");
  std::filesystem::remove(merged.string() + ".data-00002-of-00003");
  CHECK(has(refusal(Checkpoint::open(merged)), "m.data-00000-of-00005"));
}

// ---- What is no checkpoint

TEST_CASE("a file that is no checkpoint is refused with what it is") {
  Sandbox box;
  const std::map<std::string, std::pair<std::string, std::string>> files{
      {"empty", {"", "an empty file"}},
      {"model.zip", {"PK\x03\x04 rest of an archive", "a Zip archive"}},
      {"model.pkl", {"\x80\x04\x95 pickled", "a Python pickle, which can run code"}},
      {"state.txt", {"model_checkpoint_path: \"m\"\n", "a catalog"}},
      {"noise", {"nothing in particular", "not a checkpoint of a format that Cairn knows"}},
      {"short", {"x", "not a checkpoint of a format that Cairn knows"}},
  };
  for (const auto& [name, file] : files) {
    write_file(box / name, file.first);
    const std::string said = refusal(Checkpoint::open(box / name));
    INFO(said);
    CHECK(said.starts_with("Unsupported: " + (box / name).string() + ": is "));
    CHECK(has(said, file.second));
  }
}

TEST_CASE("a graph alone, shards alone, a shard alone: each is said to lack an index") {
  Sandbox box;
  test::save(box / "m", {kValues, {}, {}, {.meta_graph = "graph"}});
  std::filesystem::remove(box / "m.index");
  std::filesystem::remove(box / "m.cairn");
  CHECK(has(refusal(Checkpoint::open(box / "m")), "has shards, but neither m.cairn nor m.index"));
  // A universal shard is a safetensors file, and says itself what it holds; TensorFlow's does not.
  CHECK(*test::values_at(shard_of(box / "m")) == kValues);
  test::copy_checkpoint(test::golden("tensorflow/saver_walk/saved/train1"), box / "t");
  std::filesystem::remove(box / "t.index");
  CHECK(has(refusal(Checkpoint::open(shard_of(box / "t"))), "its index is missing"));
  CHECK(has(refusal(Checkpoint::open(box / "m.meta")), "its index is missing"));
}

TEST_CASE("where nothing is, the sentence names what is beside it") {
  Sandbox box;
  CHECK(has(refusal(Checkpoint::open(box / "no/such/m")), "NotFound: "));
  CHECK(has(refusal(Checkpoint::open(box / "m")), "no checkpoint there"));
  CHECK(has(refusal(Checkpoint::open(box.root())), "is a directory without a catalog"));
  for (const char* name : {"m-1", "m-2", "m-3", "m-4"}) test::save(box / name, {kValues});
  CHECK(has(refusal(Checkpoint::open(box / "m")), "the directory has m-1, m-2, m-3, …"));
  CHECK(has(refusal(Checkpoint::open(box.root())), "give a prefix in it: m-1, m-2, m-3, …"));
  CHECK(has(refusal(Checkpoint::open(box / "m-1.index/x")), "NotFound: "));
  CHECK(has(refusal(Checkpoint::open("")), "NotFound: "));
}

TEST_CASE("a directory without a catalog is told from one whose catalog names nothing") {
  Sandbox box;
  write_file(box / "checkpoint", "");
  CHECK(has(refusal(Checkpoint::open(box.root())), "names no latest checkpoint"));
  write_file(box / "checkpoint", "model_checkpoint_path: \"m\" nonsense: 3");
  const std::string said = refusal(Checkpoint::open(box.root()));
  CHECK(said.starts_with("Corrupt: " + (box / "checkpoint").string()));
  CHECK(has(said, "line 1"));
  CHECK(has(said, "column"));
}

// ---- What the caller expects

TEST_CASE("expected tensors that differ are refused with the difference, whatever the index") {
  const path prefix = test::golden("tensorflow/saver_walk/saved/train2-9");
  const std::vector<TensorSpec> expected{{"v1", DType::Float32, {}}, {"v3", DType::Int32, {}}};
  OpenOptions options;
  options.expected = expected;
  const std::string said = refusal(Checkpoint::open(prefix, options));
  INFO(said);
  CHECK(said.starts_with("Invalid: "));
  CHECK(has(said, "\"v1\" is int32 []"));
  CHECK(has(said, "missing \"v3\""));
}

}  // namespace
}  // namespace cairn
