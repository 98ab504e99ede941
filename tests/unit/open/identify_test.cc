// What stands under a checkpoint's name and is something else is named for what it is, wherever its
// first bytes are refused.

#include <doctest/doctest.h>

#include <utility>

#include "format/le.h"
#include "format/tensorflow/table.h"
#include "lib/open/identify.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using namespace std::string_literals;
using test::has;
using test::refusal;
using test::Sandbox;
using test::fs::path;

// A Zip archive whose first file has this name.
std::string zipped(const std::string& name) {
  return "PK\x03\x04"s + std::string(22, '\0') + static_cast<char>(name.size()) +
         std::string(3, '\0') + name + "contents";
}

struct Stranger {
  const char* what;
  std::string bytes;
  const char* said;
};

const Stranger kStrangers[] = {
    {"gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"s, "is a compressed file"},
    {"bzip2", "BZh91AY&SY\x12\x34", "is a compressed file"},
    {"xz", "\xfd\x37zXZ\x00\x00\x04"s, "is a compressed file"},
    {"zstd", "\x28\xb5\x2f\xfd\x04\x00\x01\x00"s, "is a compressed file"},
    {"tar", "model/weights"s + std::string(244, '\0') + "ustar  "s + std::string(300, '\0'),
     "is a tar archive; unpack it"},
    {"Zip", zipped("readme.txt"), "is a Zip archive"},
    {"an empty Zip", "PK\x05\x06"s + std::string(18, '\0'), "is a Zip archive"},
    {"Keras's Zip", zipped("metadata.json"), "is a Keras archive"},
    {"NumPy's Zip", zipped("w.npy"), "is a Zip archive of NumPy arrays"},
    {"NumPy", "\x93NUMPY\x01\x00v\x00{'descr'"s, "is a NumPy array"},
    {"HDF5", "\x89HDF\r\n\x1a\n\x00\x00"s, "is an HDF5 file"},
    {"GGUF", "GGUF\x03\x00\x00\x00\x01"s, "is a GGUF file"},
    {"Git LFS",
     "version https:"
     "//git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 42\n",
     "is a Git LFS pointer, which is in the place of the file; run 'git lfs pull'"},
    {"HTML", "<!DOCTYPE html><html>404</html>", "is an HTML page"},
    {"HTML without a doctype", "\n\n  <HTML lang=en>", "is an HTML page"},
    {"HTML with a byte order mark", "\xef\xbb\xbf<!doctype HTML>", "is an HTML page"},
    {"XML", "<?xml version=\"1.0\"?><Error/>", "is XML"},
    {"an error as XML", "<Error><Code>NoSuchKey</Code></Error>", "is XML"},
    {"JSON", "{\"metadata\": {}, \"weight_map\": {}}", "is JSON text"},
    {"a list as JSON", "[1, 2, 3, 4]", "is JSON text"},
};

// Where it may stand, and what one would open.
enum class Place : std::uint8_t {
  Index,          // P.index, alone
  Cairn,          // P.cairn, alone
  CairnAndIndex,  // P.cairn, P.index is whole
  Safetensors,    // a file in one piece
  V1,             // the same without a suffix that says anything
  Shard,          // of P.index
  ShardOfCairn,   // of P.cairn
};
const Place kPlaces[] = {Place::Index, Place::Cairn, Place::CairnAndIndex, Place::Safetensors,
                         Place::V1,    Place::Shard, Place::ShardOfCairn};

struct Put {
  path opened;
  path file;
};

Put put(const Sandbox& box, Place place, const std::string& bytes) {
  test::Save what{{{"v", test::floats(std::vector<float>(1000, 1.0f))}}};
  what.options.cairn_index = place != Place::Index && place != Place::Shard;
  what.options.tensorflow_index = place != Place::Cairn && place != Place::ShardOfCairn;
  test::save(box / "m", what);
  const char* const names[] = {"m.index",
                               "m.cairn",
                               "m.cairn",
                               "x.safetensors",
                               "x.ckpt",
                               "m.data-00000-of-00001",
                               "m.data-00000-of-00001"};
  const path file = box / names[static_cast<std::size_t>(place)];
  test::write_file(file, bytes);
  const bool alone = place == Place::Safetensors || place == Place::V1;
  return {alone ? file : box / "m", file};
}

TEST_CASE("a stranger under a checkpoint's name is named, wherever it stands") {
  for (const Stranger& stranger : kStrangers) {
    for (const Place place : kPlaces) {
      INFO(stranger.what, " in place ", static_cast<int>(place));
      // Of a file alone its contents decide, and this is damaged.
      const bool alone = place == Place::Safetensors || place == Place::V1;
      const std::string_view what = stranger.what;
      if (alone && (what.starts_with("NumPy") || what == "GGUF" || what == "HDF5" ||
                    what.starts_with("Keras")))
        continue;
      Sandbox box;
      const Put there = put(box, place, stranger.bytes);
      const std::string wanted = there.file.string() + ": " + stranger.said;
      const std::string said = refusal(Checkpoint::open(there.opened));
      INFO(said);
      CHECK(has(said, wanted));
      CHECK(has(refusal(convert(there.opened, Format::Cairn, {.output = box / "out/m"})), wanted));
      if (place == Place::CairnAndIndex) continue;  // of which salvage needs one
      SalvageOptions to;
      to.output = box / "out/s";
      CHECK(has(refusal(salvage(there.opened, to)), wanted));
    }
  }
}

TEST_CASE("a file that begins as one format and ends as a table is what it begins as") {
  const Sandbox box;
  std::string tail;
  format::append_le(tail, format::tensorflow::kTableMagic);
  for (const auto& [begin, type] : {std::pair{"GGUF\x03\x00\x00\x00"s, internal::FileType::Gguf},
                                    std::pair{"\x93NUMPY\x01\x00"s, internal::FileType::Numpy},
                                    std::pair{"\x89HDF\r\n\x1a\n"s, internal::FileType::Hdf5},
                                    std::pair{"PK\x05\x06"s, internal::FileType::Zip},
                                    std::pair{"\x10\0\0\0TFL3"s, internal::FileType::Tflite},
                                    std::pair{"\x10\0\0\0FT01"s, internal::FileType::Ptd}}) {
    INFO(begin);
    test::write_file(box / "m", begin + std::string(100, 'x') + tail);
    const auto directory = os::Directory::open(box.root());
    REQUIRE(directory);
    const auto file = directory->open_file("m", os::Links::Refuse);
    REQUIRE(file);
    const auto told = internal::identify(*file);
    REQUIRE(told);
    CHECK(*told == type);
  }
}

TEST_CASE("what is damaged and no stranger is said to be damaged") {
  for (const Place place : kPlaces) {
    Sandbox box;
    const Put there = put(box, place, "\x01\x02\x03\x04\x05\x06\x07\x7f and so on");
    const std::string said = refusal(Checkpoint::open(there.opened));
    INFO(said);
    CHECK(has(said, there.file.string()));
    for (const Stranger& stranger : kStrangers) CHECK_FALSE(has(said, stranger.said));
  }
}

}  // namespace
}  // namespace cairn
