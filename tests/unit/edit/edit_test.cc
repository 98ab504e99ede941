#include <doctest/doctest.h>

#include <random>
#include <regex>

#include "format/digest.h"
#include "format/tensorflow/bundle.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::Files;
using test::has;
using test::refusal;
using test::Sandbox;
using test::sentence;
using test::Values;
using test::write_file;
using test::fs::path;

const Values kLeft{{"left/a", test::floats({1, 2, 3})}, {"left/b", test::int_scalar(7)}};
const Values kRight{{"right/a", test::floats({4, 5})}, {"right/b", test::int_scalar(8)}};

Values sum(Values all, const Values& more) {
  all.insert(more.begin(), more.end());
  return all;
}

TransferOptions to(const path& output, bool replace = false) {
  TransferOptions options;
  options.output = output;
  options.replace = replace;
  return options;
}

Result<Transfer> merged(const std::vector<path>& sources, const TransferOptions& options) {
  return merge(sources, options);
}

Renaming names(std::vector<NameChange> changes) { return {std::move(changes), {}}; }
Renaming patterns(std::vector<NameChange> changes) { return {{}, std::move(changes)}; }

TransferOptions in_place() { return to({}, true); }

std::map<std::uint64_t, path> shards_in(const path& dir) {
  std::map<std::uint64_t, path> shards;
  for (const auto& entry : test::fs::directory_iterator(dir)) {
    if (has(entry.path().filename().string(), ".data-"))
      shards[test::stamp(entry.path()).inode] = entry.path();
  }
  return shards;
}

// ---- Bundles as TensorFlow writes them

struct Slice {
  std::vector<format::Extent> extents;
  std::vector<float> numbers;
};

struct Bundle {
  Values values;
  std::map<std::string, std::pair<std::vector<std::int64_t>, std::vector<Slice>>> partitioned = {};
  bool big_endian = false;
};

// The bytes' place in the shard that is being written.
format::Span append(std::string& shard, std::string_view bytes) {
  shard += bytes;
  return {0, shard.size() - bytes.size(), bytes.size(), format::crc32c(format::as_bytes(bytes))};
}

void write_bundle(const path& prefix, const Bundle& bundle) {
  std::string shard;
  std::map<std::string, format::TensorFacts> tensors;
  for (const auto& [name, value] : bundle.values) {
    format::TensorFacts& facts = tensors[name];
    facts.dtype = value.dtype;
    facts.shape = value.shape;
    facts.span = append(shard, value.bytes);
  }
  for (const auto& [name, parts] : bundle.partitioned) {
    format::TensorFacts& facts = tensors[name];
    facts.dtype = DType::Float32;
    facts.shape = parts.first;
    for (const Slice& slice : parts.second)
      facts.slices.push_back({slice.extents, append(shard, test::floats(slice.numbers).bytes)});
  }
  format::BundleHeader header;
  header.big_endian = bundle.big_endian;
  std::vector<format::TensorFacts> sorted;
  for (auto& [name, facts] : tensors) {
    facts.name = name;
    sorted.push_back(std::move(facts));
  }
  write_file(prefix.string() + ".index", *format::tensorflow::encode_bundle(header, sorted));
  if (!sorted.empty()) write_file(prefix.string() + ".data-00000-of-00001", shard);
}

Bundle sliced(const std::string& name, std::vector<std::int64_t> shape, std::vector<Slice> slices) {
  Bundle bundle;
  bundle.partitioned[name] = {std::move(shape), std::move(slices)};
  return bundle;
}

// ---- Merge

TEST_CASE("a merge holds the tensors of all, by P.cairn and by P.index alone, and copies no byte") {
  for (const path& golden : test::golden_prefixes()) {
    INFO(golden.string());
    Sandbox box;
    test::copy_checkpoint(golden, box / "in/golden");
    test::save(box / "in/left", {kLeft});
    test::save(box / "in/right", {kRight, {{"right/words", {"x", "yz"}}}});
    const Files before = test::read_files(box / "in");
    const Values values = sum(sum(*test::values_at(golden), *test::values_at(box / "in/left")),
                              *test::values_at(box / "in/right"));
    const auto done =
        merged({box / "in/golden", box / "in/left", box / "in/right"}, to(box / "out/all"));
    REQUIRE_MESSAGE(done, refusal(done));
    CHECK(done->prefix == box / "out/all");
    CHECK(done->used == Link::Hard);
    CHECK(done->payload_bytes_copied == 0);
    CHECK(done->not_nameable.empty());
    CHECK(test::read_files(box / "in") == before);
    CHECK(*test::values_at(box / "out/all") == values);
    const auto checkpoint = Checkpoint::open(box / "out/all");
    CHECK(checkpoint->format() == Format::Cairn);
    CHECK(checkpoint->warnings().empty());
    CHECK(checkpoint->verify()->damage.empty());
    for (const auto& [inode, shard] : shards_in(box / "out"))
      CHECK(shards_in(box / "in").contains(inode));
    test::fs::remove(box / "out/all.cairn");
    CHECK(*test::values_at(box / "out/all") == values);
  }
}

TEST_CASE("shards are numbered among those in which a tensor lies") {
  Sandbox box;
  write_bundle(box / "empty", {});
  write_file(box / "empty.data-00000-of-00001", "");
  write_bundle(box / "one", {kLeft});
  write_bundle(box / "two", {kRight});
  const auto done =
      merged({box / "empty", box / "one", box / "empty", box / "two"}, to(box / "out/m"));
  REQUIRE_MESSAGE(done, refusal(done));
  const Files files = test::read_files(box / "out");
  CHECK(files.size() == 4);
  CHECK(files.contains("m.data-00000-of-00002"));
  CHECK(files.contains("m.data-00001-of-00002"));
  test::fs::remove(box / "out/m.cairn");
  CHECK(*test::values_at(box / "out/m") == sum(kLeft, kRight));
}

TEST_CASE("a merge of nothing but empty checkpoints is an empty checkpoint") {
  Sandbox box;
  write_bundle(box / "empty", {});
  REQUIRE(merged({box / "empty"}, to(box / "m")));
  CHECK(test::values_at(box / "m")->empty());
  test::fs::remove(box / "m.cairn");
  CHECK(test::values_at(box / "m")->empty());
}

TEST_CASE("a name in two sources is refused, and nothing is written") {
  Sandbox box;
  test::save(box / "one", {kLeft});
  test::save(box / "two", {{{"left/b", test::int_scalar(9)}}});
  const auto done = merged({box / "one", box / "two"}, to(box / "out/m"));
  const std::string both = (box / "one").string() + " and " + (box / "two").string();
  CHECK(refusal(done) == "Exists: tensor \"left/b\" is in both " + both +
                             "; to give it another name in one of them, use rename_tensors()");
  CHECK_FALSE(test::fs::exists(box / "out"));
}

TEST_CASE("two object graphs are a collision whose sentence says what they are") {
  Sandbox box;
  test::save(box / "one", {kLeft, {{"_CHECKPOINTABLE_OBJECT_GRAPH", {"g"}}}});
  test::save(box / "two", {kRight, {{"_CHECKPOINTABLE_OBJECT_GRAPH", {"g"}}}});
  const auto done = merged({box / "one", box / "two"}, to(box / "m"));
  CHECK(has(refusal(done), "Exists: "));
  CHECK(has(refusal(done), "object graph, and a checkpoint can have only one"));
}

TEST_CASE("slices of one tensor in several sources become one tensor") {
  Sandbox box;
  write_bundle(box / "top", sliced("v", {4, 2}, {{{{0, 2}, {}}, {1, 2, 3, 4}}}));
  write_bundle(box / "rest",
               sliced("v", {4, 2}, {{{{3, 1}, {0, 2}}, {7, 8}}, {{{2, 1}, {0, 2}}, {5, 6}}}));
  const auto done = merged({box / "rest", box / "top"}, to(box / "m"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->warnings.empty());
  const std::vector<float> whole{1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(*(*Checkpoint::open(box / "m")).tensor("v")->values<float>() == whole);
  test::fs::remove(box / "m.cairn");
  CHECK(*(*Checkpoint::open(box / "m")).tensor("v")->values<float>() == whole);
}

TEST_CASE("slices that leave a gap are merged, and a warning says so") {
  Sandbox box;
  write_bundle(box / "top", sliced("v", {4}, {{{{0, 1}}, {1}}}));
  write_bundle(box / "end", sliced("v", {4}, {{{{3, 1}}, {4}}}));
  write_bundle(box / "middle", sliced("v", {4}, {{{{1, 2}}, {2, 3}}}));
  const auto done = merged({box / "top", box / "end"}, to(box / "some"));
  REQUIRE_MESSAGE(done, refusal(done));
  REQUIRE(done->warnings.size() == 1);
  CHECK(has(done->warnings[0], "tensor \"v\": its slices leave a gap"));
  REQUIRE(merged({box / "some", box / "middle"}, to(box / "all")));
  CHECK(*(*Checkpoint::open(box / "all")).tensor("v")->values<float>() ==
        std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("slices that do not go together are refused with both checkpoints") {
  const auto head = sliced("v", {4}, {{{{0, 2}}, {1, 2}}});
  const std::tuple<Bundle, std::string, std::string> kCases[] = {
      {sliced("v", {4}, {{{{1, 2}}, {2, 3}}}), "Invalid: ", "slices that overlap"},
      {sliced("v", {4}, {{{{0, 2}}, {1, 2}}}), "Invalid: ", "slices that overlap"},
      {sliced("v", {5}, {{{{2, 3}}, {1, 2, 3}}}), "Invalid: ", "float32 [4] and float32 [5]"},
      {{{{"v", test::floats({1, 2, 3, 4})}}}, "Exists: ", "is in both"},
  };
  for (const auto& [other, code, part] : kCases) {
    INFO(part);
    Sandbox box;
    write_bundle(box / "one", head);
    write_bundle(box / "two", other);
    for (const bool turned : {false, true}) {
      std::vector<path> sources{box / "one", box / "two"};
      if (turned) std::swap(sources[0], sources[1]);
      const auto done = merged(sources, to(box / "m"));
      CHECK(has(refusal(done), code));
      if (!turned) CHECK(has(refusal(done), part));
      CHECK(has(refusal(done), (box / "one").string()));
      CHECK(has(refusal(done), (box / "two").string()));
      CHECK_FALSE(test::fs::exists(box / "m.index"));
    }
  }
}

TEST_CASE("a damaged block in any input index is an error, and nothing is touched") {
  Sandbox box;
  Bundle many;
  for (int i = 0; i < 20'000; ++i)
    many.values["a tensor with a name of some length, number " + std::to_string(100'000 + i)] =
        test::int_scalar(i);
  test::fs::create_directory(box / "in");
  write_bundle(box / "in/many", many);
  write_bundle(box / "in/few", {kLeft});
  std::string index = test::read_file(box / "in/many.index");
  index[270'000] = static_cast<char>(index[270'000] ^ 1);  // behind the first block of 256 KiB
  write_file(box / "in/many.index", index);
  const Files before = test::read_files(box / "in");
  CHECK(has(refusal(merged({box / "in/few", box / "in/many"}, to(box / "out/m"))), "Corrupt: "));
  CHECK(test::read_files(box / "in") == before);
  CHECK_FALSE(test::fs::exists(box / "out"));
}

TEST_CASE("a malformed checkpoint is refused, or holds the same when merged and renamed") {
  int refused = 0;
  int held = 0;
  for (const path& index : test::golden_files("hostile", ".index")) {
    const path prefix = path(index).replace_extension();
    INFO(prefix.string());
    Sandbox box;
    test::save(box / "left", {kLeft});
    const auto opened = Checkpoint::open(prefix);
    const auto done = merged({box / "left", prefix}, to(box / "out/m"));
    const auto renamed = rename_tensors(prefix, patterns({{"$", "x"}}), to(box / "out/r"));
    if (!opened) {
      CHECK(refusal(done) == sentence(opened.error()));
      CHECK(refusal(renamed) == sentence(opened.error()));
      CHECK_FALSE(test::fs::exists(box / "out"));
      ++refused;
      continue;
    }
    if (!done) continue;  // a byte order, a clash of names
    CHECK((*Checkpoint::open(box / "out/m")).tensor_count() == opened->tensor_count() + 2);
    ++held;
  }
  CHECK(refused > 10);
  CHECK(held > 5);
}

TEST_CASE("different byte orders are refused") {
  Sandbox box;
  write_bundle(box / "little", {kLeft});
  write_bundle(box / "big", {kRight, {}, true});
  CHECK(has(refusal(merged({box / "little", box / "big"}, to(box / "m"))),
            "have different byte orders"));
  REQUIRE(merged({box / "big"}, to(box / "m")));
  CHECK(*test::values_at(box / "m") == *test::values_at(box / "big"));
}

TEST_CASE("a shard that two sources share is linked once") {
  Sandbox box;
  test::save(box / "one", {kLeft});
  const auto renaming = patterns({{"^left", "right"}});
  REQUIRE(rename_tensors(box / "one", renaming, to(box / "two")));
  REQUIRE(merged({box / "one", box / "two"}, to(box / "out/m")));
  CHECK(shards_in(box / "out").size() == 1);
  const Values both = *test::values_at(box / "out/m");
  CHECK(both.size() == 4);
  CHECK(both.at("left/a") == both.at("right/a"));
  CHECK((*Checkpoint::open(box / "out/m")).verify()->damage.empty());
}

TEST_CASE("the step is kept where all agree, metadata where none differs") {
  Sandbox box;
  const auto save = [&](const std::string& name, std::int64_t step,
                        std::vector<std::pair<std::string, std::string>> metadata) {
    WriterOptions options;
    options.step = step;
    options.metadata = std::move(metadata);
    test::save(box / name, {{{name, test::int_scalar(1)}}, {}, {}, options});
  };
  save("a", 5, {{"who", "me"}, {"where", "here"}, {"cairn.pinned", "1"}});
  save("b", 5, {{"who", "me"}, {"where", "there"}});
  save("c", 6, {});
  const auto done = merged({box / "a", box / "b"}, to(box / "m"));
  REQUIRE(done->warnings.size() == 1);
  CHECK(has(done->warnings[0], "metadata \"where\" is left out"));
  const auto checkpoint = Checkpoint::open(box / "m");
  CHECK(checkpoint->step() == 5);
  CHECK(checkpoint->metadata("who") == "me");
  CHECK_FALSE(checkpoint->metadata("where"));
  CHECK_FALSE(checkpoint->metadata("cairn.pinned"));
  REQUIRE(merged({box / "a", box / "c"}, to(box / "n")));
  CHECK_FALSE((*Checkpoint::open(box / "n")).step());
}

TEST_CASE("the number of one of TensorFlow's parts is no step") {
  Sandbox box;
  test::fs::create_directory(box / "m-42_temp");
  write_bundle(box / "m-42_temp/part-00000-of-00002", {kLeft});
  write_bundle(box / "m-42_temp/part-00001-of-00002", {kRight});
  REQUIRE(merged({box / "m-42_temp/part-00000-of-00002", box / "m-42_temp/part-00001-of-00002"},
                 to(box / "m-42")));
  CHECK((*Checkpoint::open(box / "m-42")).step() == 42);
  CHECK(*test::values_at(box / "m-42") == sum(kLeft, kRight));
}

TEST_CASE("what stands at the output stays unless replace is said, and readers keep it then") {
  for (const bool with_index : {false, true}) {
    for (const bool with_own : {false, true}) {
      if (!with_index && !with_own) continue;
      Sandbox box;
      test::save(box / "one", {kLeft});
      test::save(box / "two", {kRight});
      const Values old{{"old", test::floats({9})}};
      test::save(box / "out/m",
                 {old, {}, {}, {.tensorflow_index = with_index, .cairn_index = with_own}});
      const Files before = test::read_files(box / "out");
      const std::vector<path> sources{box / "one", box / "two"};
      CHECK(has(refusal(merged(sources, to(box / "out/m"))), "Exists: "));
      CHECK(test::read_files(box / "out") == before);
      const auto reader = Checkpoint::open(box / "out/m");
      const auto done = merged(sources, to(box / "out/m", true));
      REQUIRE_MESSAGE(done, refusal(done));
      CHECK(*test::values_of(*reader) == old);
      CHECK(*test::values_at(box / "out/m") == sum(kLeft, kRight));
      CHECK((*Checkpoint::open(box / "out/m")).warnings().empty());
      CHECK(test::read_files(box / "out").size() == 4);  // no old shard, no leftover
    }
  }
}

TEST_CASE("a checkpoint can be merged into itself") {
  Sandbox box;
  test::save(box / "one", {kLeft});
  test::save(box / "two", {kRight});
  const auto done = merged({box / "one", box / "two"}, to(box / "one", true));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(*test::values_at(box / "one") == sum(kLeft, kRight));
  CHECK(*test::values_at(box / "two") == kRight);
}

TEST_CASE("a merge goes on where a killed one has left shards, linked or copied") {
  for (const Link link : {Link::Auto, Link::Copy}) {
    Sandbox box;
    test::save(box / "one", {kLeft});
    test::save(box / "two", {kRight});
    TransferOptions options = to(box / "out/m");
    options.link = link;
    REQUIRE(merged({box / "one", box / "two"}, options));
    test::fs::remove(box / "out/m.cairn");
    test::fs::remove(box / "out/m.index");
    test::fs::remove(box / "out/m.data-00000-of-00002");
    const auto done = merged({box / "one", box / "two"}, options);
    REQUIRE_MESSAGE(done, refusal(done));
    CHECK(*test::values_at(box / "out/m") == sum(kLeft, kRight));
  }
}

TEST_CASE("a safetensors file is merged, and gets the checksums that it lacks") {
  Sandbox box;
  test::save(box / "s", {kLeft});
  REQUIRE(export_index(box / "s", Format::Safetensors));
  test::save(box / "two", {kRight});
  const auto done = merged({box / "s.safetensors", box / "two"}, to(box / "m"));
  REQUIRE_MESSAGE(done, refusal(done));
  REQUIRE(done->warnings.size() == 1);
  CHECK(has(done->warnings[0], "2 tensors had no checksum; 16 bytes were read"));
  CHECK((*Checkpoint::open(box / "m")).tensor("left/a")->crc32c() ==
        (*Checkpoint::open(box / "s")).tensor("left/a")->crc32c());
  CHECK((*Checkpoint::open(box / "m")).verify()->damage.empty());
  test::fs::remove(box / "m.cairn");
  CHECK(*test::values_at(box / "m") == sum(kLeft, kRight));
}

TEST_CASE("what TensorFlow cannot name stays out of P.index, and is named") {
  Sandbox box;
  const std::string json = R"({"e":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(json.size());
  write_file(box / "s.safetensors", file + json + "ab");
  write_bundle(box / "t", {kLeft});
  const auto done = merged({box / "s.safetensors", box / "t"}, to(box / "m"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->not_nameable == std::vector<std::string>{"e"});
  CHECK(test::values_at(box / "m")->size() == 3);
  test::fs::remove(box / "m.cairn");
  CHECK(*test::values_at(box / "m") == kLeft);
}

TEST_CASE("a shard that was touched behind its index is doubted in the merged checkpoint too") {
  Sandbox box;
  test::save(box / "one", {kLeft});
  test::save(box / "two", {kRight});
  std::string shard = test::read_file(box / "one.data-00000-of-00001");
  shard[4096] = static_cast<char>(shard[4096] ^ 1);
  write_file(box / "one.data-00000-of-00001", shard);
  const auto done = merged({box / "one", box / "two"}, to(box / "m"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(has(done->warnings.at(0), "touched or copied"));
  OpenOptions careless;
  careless.verify = Verify::None;
  CHECK(has(refusal(test::values_at(box / "m", careless)), "Corrupt: "));
}

TEST_CASE("a merge needs sources and an output") {
  Sandbox box;
  test::save(box / "one", {kLeft});
  CHECK(has(refusal(merged({}, to(box / "m"))), "Invalid: "));
  CHECK(has(refusal(merged({box / "one"}, {})), "Invalid: an output prefix is needed"));
  CHECK(has(refusal(merged({box / "one", box / "none"}, to(box / "m"))), "NotFound: "));
}

// ---- Rename

const Values kRenamed{{"new/a", kLeft.at("left/a")}, {"left/b", kLeft.at("left/b")}};

TEST_CASE("renaming in place replaces the indexes that are there, and leaves the shard") {
  for (const bool with_index : {false, true}) {
    for (const bool with_own : {false, true}) {
      if (!with_index && !with_own) continue;
      CAPTURE(with_index);
      CAPTURE(with_own);
      Sandbox box;
      test::save(box / "m",
                 {kLeft, {}, {}, {.tensorflow_index = with_index, .cairn_index = with_own}});
      const auto shard = test::stamp(box / "m.data-00000-of-00001");
      const auto done = rename_tensors(box / "m", names({{"left/a", "new/a"}}), in_place());
      REQUIRE_MESSAGE(done, refusal(done));
      CHECK(done->transfer.used == Link::Auto);
      CHECK(done->names.size() == 1);
      CHECK(*test::values_at(box / "m") == kRenamed);
      CHECK((*Checkpoint::open(box / "m")).warnings().empty());
      CHECK((*Checkpoint::open(box / "m")).verify()->damage.empty());
      CHECK(test::stamp(box / "m.data-00000-of-00001") == shard);
      CHECK(test::fs::exists(box / "m.index") == with_index);
      CHECK(test::fs::exists(box / "m.cairn") == with_own);
      if (!with_index || !with_own) continue;
      test::fs::remove(box / "m.cairn");
      CHECK(*test::values_at(box / "m") == kRenamed);
    }
  }
}

TEST_CASE("renaming in place must be told to replace") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  const Files before = test::read_files(box.root());
  const auto renaming = names({{"left/a", "new/a"}});
  CHECK(has(refusal(rename_tensors(box / "m", renaming, {})), "Exists: "));
  CHECK(has(refusal(rename_tensors(box / "m", renaming, to(box / "m"))), "Exists: "));
  CHECK(test::read_files(box.root()) == before);
}

TEST_CASE("renaming in place keeps step, metadata and time") {
  Sandbox box;
  WriterOptions options;
  options.step = 5;
  options.metadata = {{"cairn.pinned", "1"}};
  test::save(box / "m", {kLeft, {}, {}, options});
  REQUIRE(rename_tensors(box / "m", names({{"left/a", "new/a"}}), in_place()));
  CHECK((*Checkpoint::open(box / "m")).step() == 5);
  CHECK((*Checkpoint::open(box / "m")).metadata("cairn.pinned") == "1");
}

TEST_CASE("a rename that was killed between its two indexes is done again without a loss") {
  Sandbox box;
  WriterOptions options;
  options.metadata = {{"cairn.pinned", "1"}};
  test::save(box / "m", {kLeft, {}, {}, options});
  const std::string own = test::read_file(box / "m.cairn");
  const auto renaming = patterns({{"^left/a|new/a", "new/a"}});
  REQUIRE(rename_tensors(box / "m", renaming, in_place()));
  write_file(box / "m.cairn", own);
  CHECK(*test::values_at(box / "m") == kRenamed);  // by P.index, which knows no metadata
  REQUIRE(rename_tensors(box / "m", renaming, in_place()));
  CHECK(*test::values_at(box / "m") == kRenamed);
  CHECK((*Checkpoint::open(box / "m")).metadata("cairn.pinned") == "1");
  CHECK((*Checkpoint::open(box / "m")).warnings().empty());
}

TEST_CASE("renaming elsewhere leaves the source as it is") {
  for (const path& golden : test::golden_prefixes()) {
    INFO(golden.string());
    Sandbox box;
    test::copy_checkpoint(golden, box / "in/g");
    const Files before = test::read_files(box / "in");
    const auto done = rename_tensors(
        box / "in/g", patterns({{"(.*[^E].)$", "p/$1"}, {"^p/", "q/"}}), to(box / "out/m"));
    if (has(refusal(done), "object graph")) continue;
    REQUIRE_MESSAGE(done, refusal(done));
    CHECK(test::read_files(box / "in") == before);
    Values expected;
    std::map<std::string, std::string> changed;
    for (const NameChange& change : done->names) changed[change.from] = change.to;
    const Values values = *test::values_at(golden);
    for (const auto& [name, value] : values)
      expected[changed.contains(name) ? changed[name] : name] = value;
    CHECK(*test::values_at(box / "out/m") == expected);
    test::fs::remove(box / "out/m.cairn");
    CHECK(*test::values_at(box / "out/m") == expected);
  }
}

TEST_CASE("names can be exchanged") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  REQUIRE(
      rename_tensors(box / "m", names({{"left/a", "left/b"}, {"left/b", "left/a"}}), in_place()));
  CHECK(*test::values_at(box / "m") ==
        Values{{"left/b", kLeft.at("left/a")}, {"left/a", kLeft.at("left/b")}});
}

TEST_CASE(
    "patterns replace each match, one pattern after the other, and leave mapped names alone") {
  Sandbox box;
  Values values;
  for (const std::string name : {"enc_0/w", "enc_1/w", "dec/w", "w"})
    values[name] = test::int_scalar(1);
  test::save(box / "m", {values});
  Renaming renaming;
  renaming.names = {{"dec/w", "enc_9/w"}};
  renaming.patterns = {{"^enc_([0-9]+)/", "enc/layer_$1/"}, {"w", "[$&]$$"}};
  const auto changes = name_changes(box / "m", renaming);
  REQUIRE_MESSAGE(changes, refusal(changes));
  std::string text;
  for (const auto& [from, to] : *changes) text += from + ">" + to + " ";
  CHECK(text == "dec/w>enc_9/w enc_0/w>enc/layer_0/[w]$ enc_1/w>enc/layer_1/[w]$ w>[w]$ ");
}

TEST_CASE("what cannot be renamed is refused before anything is written") {
  const std::pair<Renaming, std::string> kCases[] = {
      {{}, "Invalid: .*no name, prefix or pattern"},
      {names({{"left/x", "y"}}),
       "NotFound: .*no tensor \"left/x\"; similar names: \"left/a\", \"left/b\""},
      {names({{"left/a", ""}}), "Invalid: .*would get an empty name"},
      {names({{"left/a", "left/b"}}),
       "Exists: .*\"left/a\" and \"left/b\" would both get the name \"left/b\""},
      {names({{"left/a", "x"}, {"left/a", "y"}}), "Invalid: .*renamed twice"},
      {patterns({{"left/.", "x"}}), "Exists: .*would both get the name \"x\""},
      {patterns({{"left/(", "x"}}), "Invalid: .*is not a regular expression"},
      {patterns({{"right", "x"}}), "NotFound: .*no tensor's name matches \"right\""},
      {patterns({{"^.*$", ""}}), "Invalid: .*would get an empty name"},
      {names({{"left/a", std::string(2 << 20, 'x')}}), "Invalid: .*a name of"},
  };
  Sandbox box;
  test::save(box / "m", {kLeft});
  const Files before = test::read_files(box.root());
  for (const auto& [renaming, pattern] : kCases) {
    for (const TransferOptions& options : {in_place(), to(box / "out")}) {
      const std::string said = refusal(rename_tensors(box / "m", renaming, options));
      CHECK_MESSAGE(std::regex_search(said, std::regex(pattern)), said);
      CHECK(test::read_files(box.root()) == before);
    }
  }
}

TEST_CASE("a name that the object graph refers to is not renamed") {
  Sandbox box;
  Values values = kLeft;
  values["w/.ATTRIBUTES/VARIABLE_VALUE"] = test::int_scalar(1);
  test::save(box / "objects", {values, {{"_CHECKPOINTABLE_OBJECT_GRAPH", {"graph"}}}});
  test::save(box / "plain", {values});
  const auto renaming = patterns({{"^w/", "v/"}});
  const std::string said = refusal(rename_tensors(box / "objects", renaming, in_place()));
  CHECK(has(said, "Unsupported: "));
  CHECK(has(said, "finds it by this name"));
  CHECK(rename_tensors(box / "objects", names({{"left/a", "x"}}), in_place()));
  CHECK(rename_tensors(box / "plain", renaming, in_place()));
}

TEST_CASE("a name of any length is matched, and what nests costs no more") {
  Sandbox box;
  const std::string name(1'000'000, 'a');
  test::save(box / "m", {{{name, test::int_scalar(1)}}});
  const auto nested = patterns({{"^(((a|b)*|(c|a)*)*|.)*$", "x"}});
  const auto changes = name_changes(box / "m", nested);
  REQUIRE_MESSAGE(changes, refusal(changes));
  CHECK(changes->at(0).to == "x");
  const auto longer = patterns({{"a", "$&$&"}});
  CHECK(has(refusal(name_changes(box / "m", longer)), "Invalid: "));
}

TEST_CASE("a universal shard whose header says old names is no safetensors file any more") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  for (const TransferOptions& options : {to(box / "n"), in_place()}) {
    const path where = options.output.empty() ? box / "m" : options.output;
    REQUIRE(rename_tensors(box / "m", names({{"left/a", "new/a"}}), options));
    CHECK(has(refusal(export_index(where, Format::Safetensors)), "use convert()"));
    CHECK((*Checkpoint::open(where)).verify()->damage.empty());
    REQUIRE(convert(where, Format::Safetensors, to(where.string() + "-s")));
    CHECK(*test::values_at(where.string() + "-s.safetensors") == kRenamed);
  }
}

TEST_CASE("of several shards the one that was not renamed is not taken for the whole") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  test::save(box / "n", {{{"right/b", test::int_scalar(1)}}});
  REQUIRE(merged({box / "m", box / "n"}, to(box / "both")));
  REQUIRE(rename_tensors(box / "both", names({{"left/a", "new/a"}}), in_place()));
  TransferOptions lossy;
  for (lossy.allow_lossy = false;; lossy.allow_lossy = true) {
    CHECK(has(refusal(export_index(box / "both", Format::Safetensors, lossy)),
              "are in several shards"));
    if (lossy.allow_lossy) break;
  }
  CHECK(!test::fs::exists(box / "both.safetensors"));
}

TEST_CASE("damage in the header of a renamed shard is still found") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  REQUIRE(rename_tensors(box / "m", names({{"left/a", "new/a"}}), in_place()));
  std::string shard = test::read_file(box / "m.data-00000-of-00001");
  shard[20] = static_cast<char>(shard[20] ^ 1);
  write_file(box / "m.data-00000-of-00001", shard);
  CHECK((*Checkpoint::open(box / "m")).verify()->damage.size() == 1);
}

TEST_CASE("a universal shard in which no name changed is a safetensors file as before") {
  Sandbox box;
  test::save(box / "m", {kLeft, {{"words", {"x"}}}});
  REQUIRE(rename_tensors(box / "m", names({{"words", "texts"}}), in_place()));
  TransferOptions lossy;
  lossy.allow_lossy = true;
  CHECK(export_index(box / "m", Format::Safetensors, lossy));
  CHECK(*test::values_at(box / "m.safetensors") == kLeft);
}

TEST_CASE("what was merged from one safetensors file is exported as that file") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  REQUIRE(export_index(box / "m", Format::Safetensors));
  const path file = box / "m.safetensors";
  REQUIRE(merged({file}, to(box / "n")));
  const auto done = export_index(box / "n", Format::Safetensors);
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->prefix == box / "n.safetensors");
  CHECK(done->payload_bytes_copied == 0);
  CHECK(test::read_file(done->prefix) == test::read_file(file));
  // A file by itself gets a second name.
  const auto again = export_index(file, Format::Safetensors, to(box / "second"));
  REQUIRE_MESSAGE(again, refusal(again));
  CHECK(*test::values_at(again->prefix) == kLeft);
  // Its header goes on saying the old names.
  REQUIRE(rename_tensors(file, names({{"left/a", "new/a"}}), to(box / "r")));
  CHECK(has(refusal(export_index(box / "r", Format::Safetensors)), "use convert()"));
}

TEST_CASE("metadata and step that the file itself says are kept where it is exported") {
  Sandbox box;
  WriterOptions options;
  options.step = 5;
  options.metadata = {{"caf\u00e9", "x"}};
  test::save(box / "start", {kLeft, {}, {}, options});
  const auto converted = convert(box / "start", Format::Safetensors, to(box / "a"));
  REQUIRE_MESSAGE(converted, refusal(converted));
  REQUIRE(merged({converted->prefix}, to(box / "m")));
  const auto done = export_index(box / "m", Format::Safetensors, to(box / "b"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->warnings.empty());
  const auto kept = Checkpoint::open(done->prefix);
  CHECK(kept->step() == 5);
  CHECK(kept->metadata("caf\u00e9") == "x");
  CHECK(test::read_file(done->prefix) == test::read_file(converted->prefix));
}

TEST_CASE("a safetensors file is renamed elsewhere, and not in place") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  REQUIRE(export_index(box / "m", Format::Safetensors));
  const auto renaming = names({{"left/a", "new/a"}});
  CHECK(has(refusal(rename_tensors(box / "m.safetensors", renaming, in_place())),
            "the file itself contains the names"));
  REQUIRE(rename_tensors(box / "m.safetensors", renaming, to(box / "n")));
  CHECK(*test::values_at(box / "n") == kRenamed);
  CHECK(has(refusal(export_index(box / "n", Format::Safetensors)), "use convert()"));
}

TEST_CASE("what lies beside and keeps the old names is named") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  REQUIRE(export_index(box / "m", Format::Safetensors));
  write_file(box / "m.meta", "graph");
  const auto done = rename_tensors(box / "m", names({{"left/a", "new/a"}}), in_place());
  REQUIRE(done->transfer.warnings.size() == 2);
  CHECK(has(done->transfer.warnings[0], "m.meta: keeps the old names"));
  CHECK(has(done->transfer.warnings[1], "m.safetensors: keeps the old names"));
}

TEST_CASE("the P.index that was replaced is not believed when it comes back") {
  Sandbox box;
  test::save(box / "m", {kLeft});
  const std::string old = test::read_file(box / "m.index");
  test::fs::remove(box / "m.index");
  REQUIRE(rename_tensors(box / "m", names({{"left/a", "new/a"}}), in_place()));
  CHECK(*test::values_at(box / "m") == kRenamed);
  write_file(box / "m.index", old);
  CHECK(*test::values_at(box / "m") == kLeft);  // it decides, whole, with a warning
  CHECK((*Checkpoint::open(box / "m")).warnings().size() == 1);
}

TEST_CASE("random merges and renames give what a map of names gives") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto pick = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
  for (int round = 0; round < 20; ++round) {
    Sandbox box;
    Values expected;
    std::vector<path> sources;
    for (int source = 0; source <= pick(3); ++source) {
      Values values;
      for (int i = pick(6); i > 0; --i) {
        const std::string name = std::to_string(source) + "/" + std::to_string(pick(50));
        values[name] = test::floats(std::vector<float>(static_cast<std::size_t>(pick(9)), 0.5f));
      }
      sources.push_back(box / ("s" + std::to_string(source)));
      pick(1) == 0 ? write_bundle(sources.back(), {values}) : test::save(sources.back(), {values});
      expected = sum(expected, values);
    }
    const auto done = merged(sources, to(box / "m"));
    REQUIRE_MESSAGE(done, refusal(done));
    Renaming renaming;
    Values renamed;
    for (const auto& [name, value] : expected) {
      const bool change = pick(1) == 0;
      const std::string to = std::to_string(pick(999)) + "/" + name;
      if (change) renaming.names.push_back({name, to});
      renamed[change ? to : name] = value;
    }
    CHECK(*test::values_at(box / "m") == expected);
    if (renaming.names.empty()) continue;
    REQUIRE(rename_tensors(box / "m", renaming, in_place()));
    CHECK(*test::values_at(box / "m") == renamed);
    test::fs::remove(box / "m.cairn");
    CHECK(*test::values_at(box / "m") == renamed);
  }
}

}  // namespace
}  // namespace cairn
