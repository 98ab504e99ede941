// One wrong bit, one missing end: at every place of every file of small checkpoints. A reader may
// refuse, or give the right values; never others.

#include <doctest/doctest.h>

#include <functional>
#include <optional>

#include "format/cairn/index.h"
#include "sandbox.h"

namespace cairn {
namespace {

using test::Files;
using test::Sandbox;
using test::Values;
using test::fs::path;

struct Outcomes {
  std::size_t refused = 0;
  std::size_t same = 0;
  std::size_t uncovered = 0;  // other values by a byte that no sum covers
  std::size_t wrong = 0;
};

// What the damaged checkpoint is allowed to be.
struct Subject {
  std::string name;
  Files files;
  Values values;
  // Whether other values are nobody's fault: no sum covers this byte.
  std::function<bool(const std::string& file, std::size_t at)> uncovered =
      [](const std::string&, std::size_t) { return false; };
  std::string given = "m";
  Verify verify = Verify::Lazy;
};

// The tensors' values, or nothing where any step refused.
std::optional<Values> read(const path& given, const OpenOptions& options) {
  const auto checkpoint = Checkpoint::open(given, options);
  if (!checkpoint) return std::nullopt;
  auto values = test::values_of(*checkpoint);
  if (!values) return std::nullopt;
  return *std::move(values);
}

void count(const Subject& subject, const Sandbox& box, bool uncovered, Outcomes& outcomes) {
  OpenOptions options;
  options.verify = subject.verify;
  const auto values = read(box / subject.given, options);
  if (!values) {
    ++outcomes.refused;
  } else if (*values == subject.values) {
    ++outcomes.same;
  } else {
    ++(uncovered ? outcomes.uncovered : outcomes.wrong);
  }
}

Outcomes flip_every_bit(const Subject& subject) {
  Sandbox box;
  test::write_files(box.root(), subject.files);
  Outcomes outcomes;
  for (const auto& [name, bytes] : subject.files) {
    std::fstream file(box / name, std::ios::binary | std::ios::in | std::ios::out);
    const auto put = [&](std::size_t at, char byte) {
      file.seekp(static_cast<std::streamoff>(at));
      file.put(byte).flush();
    };
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      const std::size_t at = bit / 8;
      put(at, static_cast<char>(bytes[at] ^ (1 << (bit % 8))));
      count(subject, box, subject.uncovered(name, at), outcomes);
      put(at, bytes[at]);
    }
  }
  return outcomes;
}

Outcomes cut_at_every_length(const Subject& subject) {
  Sandbox box;
  test::write_files(box.root(), subject.files);
  Outcomes outcomes;
  for (const auto& [name, bytes] : subject.files) {
    for (std::size_t size = bytes.size(); size-- > 0;) {
      test::fs::resize_file(box / name, size);
      count(subject, box, false, outcomes);
    }
    test::write_file(box / name, bytes);
  }
  return outcomes;
}

void check(const Subject& subject) {
  Sandbox box;
  test::write_files(box.root(), subject.files);
  const auto whole = read(box / subject.given, {});
  REQUIRE(whole);
  REQUIRE(*whole == subject.values);
  for (const auto& [damage, outcomes] : {std::pair("bits flipped", flip_every_bit(subject)),
                                         std::pair("lengths cut", cut_at_every_length(subject))}) {
    MESSAGE(subject.name, ", ", std::string(damage), ": ", outcomes.refused, " refused, ",
            outcomes.same, " the same, ", outcomes.uncovered, " beyond any sum, ", outcomes.wrong,
            " wrong");
    CHECK(outcomes.wrong == 0);
    CHECK(outcomes.refused > 0);
  }
}

Subject foreign(const std::string& golden) {
  Sandbox box;
  test::copy_checkpoint(test::golden(golden), box / "m");
  test::fs::remove(box / "m.meta");
  return {golden, test::read_files(box.root()), *test::values_at(box / "m")};
}

// ---- TensorFlow's

TEST_CASE("damage to TensorFlow's checkpoints never gives wrong values") {
  check(foreign("tensorflow/saver_walk/saved/train2-9"));
  check(foreign("tensorflow/partitioned/part"));
  check(foreign("hostile/snappy_ok"));
  check(foreign("hostile/str_empty_size4"));
}

TEST_CASE("a reader that checks no data is caught by these counts") {
  Subject careless = foreign("tensorflow/saver_walk/saved/train2-9");
  careless.verify = Verify::None;
  CHECK(flip_every_bit(careless).wrong == 8 * careless.files.at("m.data-00000-of-00001").size());
}

// ---- Cairn's

Subject own(const std::string& name, const test::Save& what) {
  Sandbox box;
  test::save(box / "m", what);
  return {name, test::read_files(box.root()), *test::values_at(box / "m")};
}

test::Save small() {
  return {{{"a", test::floats({1, 2})}, {"b", test::floats({1, 2})}, {"c", test::int_scalar(3)}},
          {{"s", {"x", ""}}},
          {{"b", "a"}},
          {.step = 3, .metadata = {{"k", "v"}}, .alignment_bytes = 64}};
}

Subject cairn_alone() {
  test::Save save = small();
  save.options.tensorflow_index = false;
  return own("P.cairn alone", save);
}

TEST_CASE("damage to a checkpoint with both indexes never gives wrong values") {
  check(own("both indexes", small()));
}

TEST_CASE("damage to a checkpoint with P.cairn alone is found everywhere, padding too") {
  const Subject subject = cairn_alone();
  check(subject);
}

TEST_CASE("every bit of P.cairn and of its shard is found at open or by verify, padding too") {
  const Subject subject = cairn_alone();
  Sandbox box;
  test::write_files(box.root(), subject.files);
  std::size_t found = 0;
  for (const auto& [name, bytes] : subject.files) {
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      std::string damaged = bytes;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      test::write_file(box / name, damaged);
      const auto checkpoint = Checkpoint::open(box / "m");
      const auto seen = checkpoint ? checkpoint->verify() : Verification{};
      const bool missed = checkpoint && seen && seen->damage.empty();
      CHECK_MESSAGE(!missed, name, ", bit ", bit);
      found += !missed;
    }
    test::write_file(box / name, bytes);
  }
  MESSAGE(found, " bits found");
}

TEST_CASE("P.cairn and its shard are refused at every other length") {
  const Subject subject = cairn_alone();
  Sandbox box;
  test::write_files(box.root(), subject.files);
  std::size_t refused = 0;
  for (const auto& [name, bytes] : subject.files) {
    for (std::size_t size = 0; size <= bytes.size() + 4'096; ++size) {
      if (size == bytes.size()) continue;
      test::fs::resize_file(box / name, size);
      const auto checkpoint = Checkpoint::open(box / "m");
      CHECK_MESSAGE(!checkpoint, name, ", ", size, " bytes");
      refused += !checkpoint;
    }
    test::write_file(box / name, bytes);
  }
  MESSAGE(refused, " lengths refused");
}

TEST_CASE("any two bits of P.cairn's first 256 bytes are found") {
  const std::string index = cairn_alone().files.at("m.cairn");
  std::vector<std::byte> bytes(index.size());
  std::memcpy(bytes.data(), index.data(), index.size());
  REQUIRE(format::IndexView::decode(bytes));
  const auto flip = [&](std::size_t bit) { bytes[bit / 8] ^= std::byte{1} << (bit % 8); };
  constexpr std::size_t kBits = std::size_t{8} * 256;
  std::size_t missed = 0;
  std::size_t pairs = 0;
  for (std::size_t one = 0; one < kBits; ++one) {
    flip(one);
    for (std::size_t other = one + 1; other < kBits; ++other, ++pairs) {
      flip(other);
      missed += format::IndexView::decode(bytes).has_value();
      flip(other);
    }
    flip(one);
  }
  MESSAGE(pairs, " pairs, ", missed, " missed");
  CHECK(missed == 0);
}

// ---- safetensors': no sums at all, so only what breaks its rules is seen

TEST_CASE("a damaged safetensors file is refused or gives what its header then says") {
  const std::string json =
      R"({"__metadata__":{"a":"b"},"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
      R"("y":{"dtype":"F32","shape":[],"data_offsets":[3,7]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(json.size());
  file += json + "abcdefg";
  Sandbox box;
  test::write_file(box / "m.safetensors", file);
  Subject subject{
      "safetensors", {{"m.safetensors", file}}, *test::values_at(box / "m.safetensors")};
  subject.uncovered = [](const std::string&, std::size_t) { return true; };
  subject.given = "m.safetensors";
  check(subject);
}

}  // namespace
}  // namespace cairn
