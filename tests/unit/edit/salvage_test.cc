#include "cairn/salvage.h"

#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <set>
#include <thread>

#include "format/digest.h"
#include "format/tensorflow/bundle.h"
#include "lib/open/recoverable.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::Files;
using test::has;
using test::refusal;
using test::Sandbox;
using test::Value;
using test::Values;
using test::write_file;
using test::fs::path;
using Names = std::set<std::string>;

constexpr std::uint64_t kChunkBytes = 1u << 20;

Value bytes(std::size_t count, char fill) {
  return {DType::Uint8, {static_cast<std::int64_t>(count)}, std::string(count, fill)};
}

// Of every kind: several chunks, a scalar, none at all, strings.
const test::Save kAll{{{"large", bytes(2 * kChunkBytes + 5, 'x')},
                       {"scalar", test::int_scalar(7)},
                       {"small", test::floats({1, 2, 3})},
                       {"without elements", test::floats({})}},
                      {{"words", {"some", "", "text"}}}};

SalvageOptions to(const path& output, bool replace = false) { return {output, replace, {}}; }

Names names_of(const std::vector<LostTensor>& lost) {
  Names names;
  for (const LostTensor& tensor : lost) names.insert(tensor.name);
  CHECK(names.size() == lost.size());
  return names;
}

Values without(Values values, const Names& names) {
  for (const std::string& name : names) values.erase(name);
  return values;
}

void flip(const path& file, std::uint64_t offset_bytes) {
  std::string contents = test::read_file(file);
  contents.at(offset_bytes) = static_cast<char>(contents.at(offset_bytes) ^ 1);
  write_file(file, contents);
}

void cut(const path& file, std::uint64_t size_bytes) {
  write_file(file, test::read_file(file).substr(0, size_bytes));
}

// Where each tensor lies, while all is well.
struct Place {
  path shard;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

std::map<std::string, Place> places_in(const path& prefix) {
  std::map<std::string, Place> places;
  const auto checkpoint = Checkpoint::open(prefix);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const Tensor tensor = checkpoint->tensor_at(i);
    places[std::string(tensor.name())] = {prefix.parent_path() / tensor.shard(),
                                          tensor.offset_bytes(),
                                          tensor.offset_bytes() + tensor.size_bytes()};
  }
  return places;
}

// The result holds these, is whole by each of its indexes, and the source is what it was.
void check_kept(const path& prefix, const Values& values) {
  const auto checkpoint = Checkpoint::open(prefix, {.verify = Verify::Full});
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->format() == Format::Cairn);
  CHECK(checkpoint->warnings().empty());
  CHECK(checkpoint->verify()->damage.empty());
  CHECK(*test::values_of(*checkpoint) == values);
  test::fs::remove(prefix.string() + ".cairn");
  CHECK(*test::values_at(prefix, {.verify = Verify::Full}) == values);
}

// Salvages the checkpoint, which loses these, and no other of the values that it had.
Salvageable lose(const Sandbox& box, const path& prefix, const Values& values,
                 const Names& expected) {
  const Files before = test::read_files(prefix.parent_path());
  const auto looked = salvageable(prefix);
  REQUIRE_MESSAGE(looked, refusal(looked));
  CHECK(names_of(looked->lost) == expected);
  const auto done = salvage(prefix, to(box / "out/m", true));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(test::read_files(prefix.parent_path()) == before);
  CHECK(done->transfer.prefix == box / "out/m");
  CHECK(done->transfer.used == Link::Copy);
  CHECK(names_of(done->found.lost) == expected);
  CHECK(done->found.tensors_total == values.size());
  CHECK(done->found.tensors_kept == values.size() - expected.size());
  check_kept(box / "out/m", without(values, expected));
  return done->found;
}

// ---- Damaged bytes

TEST_CASE("a flipped byte loses its tensor, and every other is kept bit for bit") {
  for (const bool by_own_index : {true, false}) {
    INFO(by_own_index);
    Sandbox box;
    test::save(box / "in/m", kAll);
    if (!by_own_index) test::fs::remove(box / "in/m.cairn");
    const Values values = *test::values_at(box / "in/m");
    const Files whole = test::read_files(box / "in");
    for (const auto& [name, place] : places_in(box / "in/m")) {
      if (place.begin == place.end) continue;
      INFO(name);
      flip(place.shard, (place.begin + place.end) / 2);
      const Salvageable found = lose(box, box / "in/m", values, {name});
      const LostTensor& lost = found.lost.at(0);
      CHECK(lost.size_bytes == place.end - place.begin);
      CHECK(found.bytes_total - found.bytes_kept == lost.size_bytes);
      REQUIRE(lost.ranges.size() == 1);
      const LostRange& range = lost.ranges[0];
      CHECK(range.shard == place.shard.filename());
      CHECK(range.stored_crc32c != range.computed_crc32c);
      CHECK(has(range.why, range.shard + " have CRC32C "));
      write_file(place.shard, whole.at(place.shard.filename()));
    }
  }
}

TEST_CASE("damage is named to the chunk where chunks have sums, else to the tensor") {
  Sandbox box;
  test::save(box / "in/m", kAll);
  const Place place = places_in(box / "in/m").at("large");
  flip(place.shard, place.begin + kChunkBytes);
  flip(place.shard, place.end - 1);
  const auto by_chunks = salvageable(box / "in/m");
  REQUIRE_MESSAGE(by_chunks, refusal(by_chunks));
  const auto& ranges = by_chunks->lost.at(0).ranges;
  REQUIRE(ranges.size() == 2);
  CHECK(ranges[0].offset_bytes == place.begin + kChunkBytes);
  CHECK(ranges[0].size_bytes == kChunkBytes);
  CHECK(ranges[1].offset_bytes == place.begin + 2 * kChunkBytes);
  CHECK(ranges[1].size_bytes == 5);
  test::fs::remove(box / "in/m.cairn");
  const auto by_tensors = salvageable(box / "in/m");
  REQUIRE(by_tensors->lost.at(0).ranges.size() == 1);
  CHECK(by_tensors->lost[0].ranges[0].size_bytes == place.end - place.begin);
}

TEST_CASE(
    "damage in bytes that two tensors share loses both, damage elsewhere leaves them shared") {
  Sandbox box;
  test::save(box / "in/m", {{{"tied", test::floats({1, 2})},
                             {"owner", test::floats({1, 2})},
                             {"other", test::floats({3})}},
                            {},
                            {{"tied", "owner"}}});
  const Values values = *test::values_at(box / "in/m");
  const auto places = places_in(box / "in/m");
  REQUIRE(places.at("tied").begin == places.at("owner").begin);
  flip(places.at("other").shard, places.at("other").begin);
  lose(box, box / "in/m", values, {"other"});
  flip(places.at("other").shard, places.at("other").begin);
  const auto done = salvage(box / "in/m", to(box / "out/shared"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->found.lost.empty());
  const auto copied = places_in(box / "out/shared");
  CHECK(copied.at("tied").begin == copied.at("owner").begin);
  flip(places.at("other").shard, places.at("tied").begin);
  lose(box, box / "in/m", values, {"tied", "owner"});
}

TEST_CASE(
    "whatever byte of a golden shard is flipped, what verify names is lost and nothing else") {
  int flipped = 0;
  for (const path& golden : test::golden_prefixes()) {
    INFO(golden.string());
    Sandbox box;
    test::copy_checkpoint(golden, box / "in/m");
    const Values values = *test::values_at(box / "in/m");
    for (const auto& [file, contents] : test::read_files(box / "in")) {
      if (!has(file, ".data-")) continue;
      for (std::size_t at = 0; at < contents.size(); at += 11) {
        flip(box / "in" / file, at);
        Names damaged;
        const auto verified = (*Checkpoint::open(box / "in/m")).verify();
        REQUIRE_MESSAGE(verified, refusal(verified));
        for (const Damage& damage : verified->damage) damaged.insert(damage.tensor);
        const auto found = salvageable(box / "in/m");
        REQUIRE_MESSAGE(found, refusal(found));
        CHECK(names_of(found->lost) == damaged);
        const bool some_are_kept = damaged.size() < values.size();
        if (at % 1001 == 0 && some_are_kept) lose(box, box / "in/m", values, damaged);
        write_file(box / "in" / file, contents);
        flipped += !damaged.empty();
      }
    }
  }
  CHECK(flipped > 1000);
}

TEST_CASE("damage in a shard's header or padding loses nothing, and is left behind") {
  Sandbox box;
  test::save(box / "in/m", kAll);
  const Values values = *test::values_at(box / "in/m");
  flip(places_in(box / "in/m").at("small").shard, 9);
  REQUIRE_FALSE((*Checkpoint::open(box / "in/m")).verify()->damage.empty());
  lose(box, box / "in/m", values, {});
}

// ---- Shards that are short or gone

TEST_CASE("wherever a shard is cut, the tensors in front of the cut are kept") {
  Sandbox box;
  test::save(box / "in/m", {{{"a", test::floats({1})},
                             {"b", test::floats({2, 3})},
                             {"c", test::int_scalar(4)},
                             {"none", test::floats({})}}});
  const Values values = *test::values_at(box / "in/m");
  const auto places = places_in(box / "in/m");
  const path shard = places.at("a").shard;
  const std::string contents = test::read_file(shard);
  for (std::uint64_t size = 0; size < contents.size(); ++size) {
    INFO(size);
    cut(shard, size);
    Names expected;
    for (const auto& [name, place] : places) {
      if (place.begin != place.end && place.end > size) expected.insert(name);
    }
    if (size % 64 == 0) lose(box, box / "in/m", values, expected);
    const auto found = salvageable(box / "in/m");
    REQUIRE_MESSAGE(found, refusal(found));
    CHECK(names_of(found->lost) == expected);
    for (const LostTensor& lost : found->lost) {
      CHECK(has(lost.ranges.at(0).why, "the file is truncated"));
      CHECK_FALSE(lost.ranges[0].computed_crc32c);
    }
    REQUIRE(found->warnings.size() == 1);
    CHECK(has(found->warnings[0], "has " + std::to_string(size) + " bytes, but its index"));
    write_file(shard, contents);
  }
}

TEST_CASE("without one of TensorFlow's shards the tensors of the others are kept") {
  Sandbox box;
  test::copy_checkpoint(test::golden("tensorflow/sharded/shard-42"), box / "in/m");
  for (const bool imported : {false, true}) {
    if (imported) REQUIRE(import_index(box / "in/m"));
    const Values values = *test::values_at(box / "in/m");
    const auto places = places_in(box / "in/m");
    for (const auto& [file, contents] : test::read_files(box / "in")) {
      if (!has(file, ".data-")) continue;
      INFO(file);
      Names expected;
      for (const auto& [name, place] : places) {
        if (place.shard.filename() == file) expected.insert(name);
      }
      REQUIRE_FALSE(expected.empty());
      test::fs::remove(box / "in" / file);
      const Salvageable found = lose(box, box / "in/m", values, expected);
      CHECK(has(found.lost.at(0).ranges.at(0).why, file + ": cannot open: No such file"));
      write_file(box / "in" / file, contents);
    }
  }
}

TEST_CASE("what the caller can mend loses no tensor") {
  Sandbox box;
  test::copy_checkpoint(test::golden("tensorflow/sharded/shard-42"), box / "in/m");
  const path shard = box / "in/m.data-00001-of-00003";
  test::fs::rename(shard, box / "elsewhere");
  test::fs::create_symlink(box / "elsewhere", shard);
  CHECK(has(refusal(salvage(box / "in/m", to(box / "out/m"))), "Unsafe: "));
  CHECK_FALSE(test::fs::exists(box / "out"));
}

TEST_CASE("a disk that fails is damage, and too few descriptors are not") {
  for (const int number : {EIO, EBADMSG, EUCLEAN, ENODATA})
    CHECK(internal::is_damage({Code::Io, number, {}}));
  for (const int number : {0, EMFILE, EINVAL})
    CHECK_FALSE(internal::is_damage({Code::Io, number, {}}));
  CHECK(internal::is_damage({Code::Corrupt, 0, {}}));
  CHECK_FALSE(internal::is_damage({Code::OutOfMemory, EIO, {}}));
}

// ---- Partitioned variables

struct Slice {
  std::int64_t start = 0;
  std::vector<float> numbers;
};

// A vector `v` of six elements in these slices, and `w` in one piece.
void write_sliced(const path& prefix, const std::vector<Slice>& slices) {
  std::string shard;
  const auto append = [&](const Value& value) -> format::Span {
    shard += value.bytes;
    return {0, shard.size() - value.bytes.size(), value.bytes.size(),
            format::crc32c(format::as_bytes(value.bytes))};
  };
  std::vector<format::TensorFacts> tensors(2);
  tensors[0].name = "v";
  tensors[1].name = "w";
  for (format::TensorFacts& tensor : tensors) tensor.dtype = DType::Float32;
  tensors[0].shape = {6};
  for (const Slice& slice : slices) {
    const auto length = static_cast<std::int64_t>(slice.numbers.size());
    tensors[0].slices.push_back({{{slice.start, length}}, append(test::floats(slice.numbers))});
  }
  tensors[1].shape = {1};
  tensors[1].span = append(test::floats({7}));
  test::fs::create_directories(prefix.parent_path());
  write_file(prefix.string() + ".index", *format::tensorflow::encode_bundle({}, tensors));
  write_file(prefix.string() + ".data-00000-of-00001", shard);
}

TEST_CASE("one damaged slice loses the whole variable, and whole ones are put together") {
  Sandbox box;
  write_sliced(box / "in/m", {{0, {1, 2}}, {2, {3}}, {3, {4, 5, 6}}});
  const Values values = *test::values_at(box / "in/m");
  flip(box / "in/m.data-00000-of-00001", 24);
  lose(box, box / "in/m", values, {"w"});
  flip(box / "in/m.data-00000-of-00001", 24);
  flip(box / "in/m.data-00000-of-00001", 9);
  const Salvageable found = lose(box, box / "in/m", values, {"v"});
  const LostTensor& lost = found.lost.at(0);
  CHECK(lost.size_bytes == 24);
  REQUIRE(lost.ranges.size() == 1);
  CHECK(lost.ranges[0].offset_bytes == 8);
  CHECK(lost.ranges[0].size_bytes == 4);
}

TEST_CASE("slices that leave a gap lose their variable, and the sentence says so") {
  Sandbox box;
  write_sliced(box / "in/m", {{0, {1, 2}}, {3, {4, 5, 6}}});
  const auto done = salvage(box / "in/m", to(box / "out/m"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(names_of(done->found.lost) == Names{"v"});
  CHECK(has(done->found.lost[0].ranges.at(0).why, "leave gaps"));
  CHECK(done->found.lost[0].ranges[0].shard.empty());
  check_kept(box / "out/m", {{"w", test::floats({7})}});
}

// ---- Damaged indexes

TEST_CASE("where one index is damaged the other is used, and a warning says so") {
  const std::pair<std::string, std::string> kCases[] = {
      {"m.cairn", "m.index is whole and was used"}, {"m.index", "m.cairn is whole and was used"}};
  for (const auto& [damaged, warning] : kCases) {
    for (const bool emptied : {false, true}) {
      INFO(damaged, emptied);
      Sandbox box;
      test::save(box / "in/m", kAll);
      const Values values = *test::values_at(box / "in/m");
      if (emptied) {
        write_file(box / "in" / damaged, "");
      } else {
        flip(box / "in" / damaged, 70);
      }
      const Salvageable found = lose(box, box / "in/m", values, {});
      REQUIRE(found.warnings.size() == 1);
      CHECK(has(found.warnings[0], warning));
      CHECK(has(found.warnings[0], (box / "in" / damaged).string()));
    }
  }
}

TEST_CASE("a P.index that was written past P.cairn decides, as it does for open") {
  Sandbox box;
  test::save(box / "in/m", {{{"old", test::floats({1})}}});
  test::save(box / "new/m", {{{"new", test::floats({2})}}});
  for (const std::string name : {"m.index", "m.data-00000-of-00001"})
    write_file(box / "in" / name, test::read_file(box / "new" / name));
  const Salvageable found = lose(box, box / "in/m", {{"new", test::floats({2})}}, {});
  REQUIRE(found.warnings.size() == 1);
  CHECK(
      has(found.warnings[0], "m.cairn: not used, because m.index is not the one that it records"));
}

TEST_CASE("where no index is whole it is refused, and nothing is written") {
  for (const bool both : {true, false}) {
    Sandbox box;
    test::save(box / "in/m", kAll);
    if (both) flip(box / "in/m.cairn", 70);
    if (!both) test::fs::remove(box / "in/m.cairn");
    flip(box / "in/m.index", 20);
    const auto done = salvage(box / "in/m", to(box / "out/m"));
    CHECK(has(refusal(done), "Corrupt: "));
    CHECK(has(refusal(done), (box / "in/m.index").string()));
    CHECK(has(refusal(done), (box / "in/m.cairn").string()) == both);
    CHECK(has(refusal(done), "it is not known where the tensors are"));
    CHECK_FALSE(test::fs::exists(box / "out"));
  }
}

TEST_CASE("while a checkpoint is saved anew, no tensor of it seems to be lost") {
  const path memory = "/dev/shm";  // where a save takes no longer than a look
  Sandbox box(test::fs::exists(memory) ? memory : test::fs::temp_directory_path());
  const test::Save what{{{"a", test::floats({1})}, {"b", test::floats({2})}}};
  test::save(box / "m", what);
  std::jthread writer([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) test::save(box / "m", what);
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  int looks = 0;
  while (std::chrono::steady_clock::now() < end) {
    const auto found = salvageable(box / "m");
    if (!found && found.error().code == Code::Busy) continue;
    REQUIRE_MESSAGE(found, refusal(found));
    REQUIRE(found->lost.empty());
    ++looks;
  }
  CHECK(looks > 10);
}

// ---- Other formats

// As safetensors' own library writes it.
void write_safetensors(const path& file) {
  const std::string json = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                           R"("b":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}})";
  std::string contents(8, '\0');
  contents[0] = static_cast<char>(json.size());
  test::fs::create_directories(file.parent_path());
  write_file(file, contents + json + std::string("\0\0\0\0\0\0\x80?abcd", 12));
}

TEST_CASE("of a truncated safetensors file the tensors inside are kept, and nothing is compared") {
  Sandbox box;
  const path file = box / "in/m.safetensors";
  write_safetensors(file);
  const Values values = *test::values_at(file);
  const Salvageable whole = lose(box, file, values, {});
  REQUIRE(whole.warnings.size() == 1);
  CHECK(has(whole.warnings[0], "/m: 2 of its tensors have no checksum; they are kept"));
  cut(file, test::read_file(file).size() - 1);
  const Salvageable found = lose(box, file, values, {"b"});
  CHECK_FALSE(found.lost.at(0).ranges.at(0).stored_crc32c);
  CHECK(has(found.warnings.at(0), "/m: 1 of its tensors have no checksum; they are kept"));
  cut(file, 20);
  CHECK(has(refusal(salvage(file, to(box / "out/n"))), "Corrupt: "));
}

TEST_CASE("opaque dtypes, an empty name and __metadata__ are kept") {
  Sandbox box;
  const std::string json = R"({"__metadata__":{"format":"flax","k":""},)"
                           R"("":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                           R"("w":{"dtype":"F4","shape":[2,2],"data_offsets":[1,3]}})";
  std::string contents(8, '\0');
  contents[0] = static_cast<char>(json.size());
  write_file(box / "m.safetensors", contents + json + "abc");
  const auto done = salvage(box / "m.safetensors", to(box / "out"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->found.lost.empty());
  const auto checkpoint = Checkpoint::open(box / "out");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(*test::values_of(*checkpoint) == *test::values_at(box / "m.safetensors"));
  CHECK(checkpoint->tensor("w")->dtype_name() == "F4");
  CHECK(checkpoint->safetensors_metadata("format") == "flax");
  CHECK(checkpoint->safetensors_metadata("k") == "");
}

TEST_CASE("a V1 checkpoint is kept if it is whole, and refused if not") {
  Sandbox box;
  test::fs::create_directory(box / "in");
  const path file = box / "in/old.ckpt-3";
  write_file(file, test::read_file(test::golden("tensorflow/v1/old.ckpt-3")));
  lose(box, file, *test::values_at(file), {});
  flip(file, 1000);
  CHECK(has(refusal(salvage(file, to(box / "out/n"))), "Corrupt: "));
}

// ---- The result

TEST_CASE("step, metadata and P.meta are kept") {
  Sandbox box;
  test::Save what = kAll;
  what.options.step = 42;
  what.options.metadata = {{"who", "me"}};
  what.options.meta_graph = "a graph";
  test::save(box / "in/m", what);
  const Place place = places_in(box / "in/m").at("small");
  flip(place.shard, place.begin);
  REQUIRE(salvage(box / "in/m", to(box / "out/n")));
  const auto checkpoint = Checkpoint::open(box / "out/n");
  CHECK(checkpoint->step() == 42);
  CHECK(checkpoint->metadata("who") == "me");
  CHECK(test::read_file(box / "out/n.meta") == "a graph");
}

TEST_CASE("where no tensor is whole it is an error, and nothing is written") {
  const std::function<void(const path&)> kDamages[] = {
      [](const path& shard) { test::fs::remove(shard); },
      [](const path& shard) { write_file(shard, std::string(test::fs::file_size(shard), 'z')); },
      [](const path& shard) { cut(shard, 1); }};
  for (const auto& damage : kDamages) {
    Sandbox box;
    test::save(box / "in/m", {{{"a", test::floats({1})}, {"b", test::floats({2})}}});
    damage(box / "in/m.data-00000-of-00001");
    const Files before = test::read_files(box / "in");
    const auto done = salvage(box / "in/m", to(box / "out/m"));
    CHECK(has(refusal(done), "Corrupt: " + (box / "in/m").string() +
                                 ": none of its 2 tensors is whole; the first one is \"a\": "));
    CHECK_FALSE(test::fs::exists(box / "out"));
    CHECK(test::read_files(box / "in") == before);
    CHECK(salvageable(box / "in/m")->lost.size() == 2);
  }
}

TEST_CASE("what stands at the output stays unless replace is said, and readers keep it then") {
  Sandbox box;
  test::save(box / "in/m", kAll);
  const Values old{{"old", test::floats({9})}};
  test::save(box / "out/m", {old});
  const Files before = test::read_files(box / "out");
  CHECK(has(refusal(salvage(box / "in/m", to(box / "out/m"))), "Exists: "));
  CHECK(test::read_files(box / "out") == before);
  const auto reader = Checkpoint::open(box / "out/m");
  const auto done = salvage(box / "in/m", to(box / "out/m", true));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(*test::values_of(*reader) == old);
  check_kept(box / "out/m", *test::values_at(box / "in/m"));
}

TEST_CASE("the source is no output, however it is spelt") {
  Sandbox box;
  test::save(box / "in/m", kAll);
  const Files before = test::read_files(box / "in");
  for (const path& same : {box / "in/m", box / "in/../in/m", box / "in/./m"})
    CHECK(has(refusal(salvage(box / "in/m", to(same, true))), "Invalid: "));
  CHECK(has(refusal(salvage(box / "in/m", to({}))), "Invalid: "));
  CHECK(test::read_files(box / "in") == before);
}

TEST_CASE("what is cancelled writes nothing") {
  Sandbox box;
  test::save(box / "in/m", kAll);
  std::stop_source stop;
  stop.request_stop();
  SalvageOptions options = to(box / "out/m");
  options.exec.stop = stop.get_token();
  CHECK(has(refusal(salvage(box / "in/m", options)), "Cancelled: "));
  CHECK_FALSE(test::fs::exists(box / "out"));
}

TEST_CASE("a malformed checkpoint is refused, or what open() reads of it is kept") {
  int refused = 0;
  int held = 0;
  for (const path& index : test::golden_files("hostile", ".index")) {
    const path prefix = path(index).replace_extension();
    INFO(prefix.string());
    Sandbox box;
    const auto done = salvage(prefix, to(box / "out/m"));
    if (!done) {
      CHECK_FALSE(test::fs::exists(box / "out"));
      ++refused;
      continue;
    }
    const auto kept = test::values_at(box / "out/m", {.verify = Verify::Full});
    REQUIRE_MESSAGE(kept, refusal(kept));
    CHECK(kept->size() == done->found.tensors_kept);
    if (const auto all = test::values_at(prefix)) {
      CHECK(done->found.lost.empty());
      CHECK(*kept == *all);
    }
    ++held;
  }
  CHECK(refused > 10);
  CHECK(held > 5);
}

}  // namespace
}  // namespace cairn
