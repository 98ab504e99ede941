#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "format/digest.h"
#include "tests/unit/open/npy_samples.h"
#include "tests/unit/open/zip_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::npy_of;
using test::refusal;
using test::Sandbox;
using test::write_file;
using test::zip_of;
namespace fs = std::filesystem;

const std::string kOneTwo = std::string("\0\0\x80\x3f\0\0\0\x40", 8);  // 1.0f, 2.0f
const std::string kTwoOne = std::string("\0\0\0\x40\0\0\x80\x3f", 8);

std::string safetensors(const std::string& name, const std::string& data) {
  std::string json = R"({")" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  json.append(96 - json.size(), ' ');
  return std::string("\x60\0\0\0\0\0\0\0", 8) + json + data;
}

Checkpoint opened(const fs::path& path, std::size_t warnings = 0) {
  auto checkpoint = Checkpoint::open(path);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->warnings().size() == warnings);
  return *std::move(checkpoint);
}

float first_value(const Checkpoint& checkpoint, const char* name) {
  const auto tensor = checkpoint.tensor(name);
  REQUIRE_MESSAGE(tensor, refusal(tensor));
  const auto values = tensor->values<float>();
  REQUIRE_MESSAGE(values, refusal(values));
  return values->front();
}

void import_whole(const fs::path& path, const TransferOptions& options = {}) {
  const auto done = import_index(path, options);
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(done->payload_bytes_copied == 0);
}

TEST_CASE("an import of a file records sums and hashes beside it, and moves no byte") {
  const Sandbox box;
  const fs::path file = box / "m.safetensors";
  write_file(file, safetensors("w", kOneTwo));
  const auto before = fs::last_write_time(file);
  CHECK_FALSE(opened(file).tensor("w")->crc32c());
  import_whole(file);
  CHECK(fs::exists(box / "m.safetensors.cairn"));
  CHECK(fs::last_write_time(file) == before);
  for (const fs::path& path : {file, box / "m.safetensors.cairn"}) {
    const Checkpoint checkpoint = opened(path);
    CHECK(name(checkpoint.format()) == "safetensors");
    CHECK(checkpoint.prefix() == box / "m");
    const auto tensor = checkpoint.tensor("w");
    REQUIRE(tensor);
    CHECK(tensor->crc32c() == format::crc32c(format::as_bytes(kOneTwo)));
    CHECK(tensor->content_hash() == format::xxh3_128(format::as_bytes(kOneTwo)));
    CHECK(first_value(checkpoint, "w") == 1.0F);
    const auto verified = checkpoint.verify();
    REQUIRE(verified);
    CHECK(verified->bytes_checked == 8);
    CHECK(verified->unchecked_bytes == 0);
  }
  const auto again = import_index(file);
  REQUIRE(again);
  REQUIRE(again->warnings.size() == 1);
  CHECK(has(again->warnings.front(), "exists already and is up to date"));
}

TEST_CASE("a damaged byte of an imported file is found on its first use") {
  const Sandbox box;
  const fs::path file = box / "m.safetensors";
  write_file(file, safetensors("w", kOneTwo));
  import_whole(file);
  const auto time = fs::last_write_time(file);
  std::string damaged = safetensors("w", kOneTwo);
  damaged.back() ^= 1;
  write_file(file, damaged);
  fs::last_write_time(file, time);
  const auto checkpoint = Checkpoint::open(file);
  REQUIRE(checkpoint);
  CHECK(has(refusal(checkpoint->tensor("w")->bytes()), "Corrupt: "));
}

TEST_CASE("where the file is not the one that was imported, the file decides, with a warning") {
  const Sandbox box;
  const fs::path file = box / "m.safetensors";
  const std::string whole = safetensors("w", kOneTwo);
  const auto check_file_decides = [&](const char* tensor, float value) {
    const Checkpoint checkpoint = opened(file, 1);
    CHECK(has(checkpoint.warnings()[0], "m.safetensors.cairn: not used"));
    CHECK(has(checkpoint.warnings()[0], "cairn import " + file.string()));
    CHECK(first_value(checkpoint, tensor) == value);
    import_whole(file);
    CHECK(first_value(opened(file), tensor) == value);
  };
  write_file(file, whole);
  import_whole(file);
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(5));
  write_file(file, safetensors("w", kTwoOne));  // of the same size
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(9));
  check_file_decides("w", 2.0F);
  write_file(file, safetensors("other", kOneTwo) + std::string());
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(19));
  check_file_decides("other", 1.0F);
  // The record of another file, under this one's name.
  write_file(box / "n.safetensors", safetensors("n", kTwoOne));
  import_whole(box / "n.safetensors");
  fs::rename(box / "n.safetensors.cairn", box / "m.safetensors.cairn");
  check_file_decides("other", 1.0F);
  write_file(box / "m.safetensors.cairn", "no index");
  check_file_decides("other", 1.0F);
}

TEST_CASE("another file of the same size and time decides, by the bytes that place its tensors") {
  for (const bool sums : {true, false}) {
    const Sandbox box;
    const fs::path file = box / "m.safetensors";
    write_file(file, safetensors("w", kOneTwo));
    const auto time = fs::last_write_time(file);
    TransferOptions options;
    options.sums = sums;
    import_whole(file, options);
    write_file(box / "other", safetensors("v", kTwoOne));
    fs::copy_file(box / "other", file, fs::copy_options::overwrite_existing);
    fs::last_write_time(file, time);
    const auto checkpoint = opened(file, 1);
    CHECK(has(checkpoint.warnings()[0], "is not the file that it records"));
    CHECK(first_value(checkpoint, "v") == 2);
    import_whole(file, options);
    CHECK(first_value(opened(file), "v") == 2);
  }
}

TEST_CASE("a damaged archive is not recorded as whole") {
  const Sandbox box;
  const std::string array = npy_of("<f4", "(2,)", false, kOneTwo);
  std::string archive = zip_of({{"w.npy", array}});
  const std::size_t at = archive.find(kOneTwo);
  REQUIRE(at != std::string::npos);
  archive[at] ^= 1;
  write_file(box / "m.npz", archive);
  CHECK(
      has(refusal(import_index(box / "m.npz")), "member \"w.npy\": its bytes have another CRC-32"));
  CHECK_FALSE(fs::exists(box / "m.npz.cairn"));
  TransferOptions options;
  options.sums = false;
  import_whole(box / "m.npz", options);
  CHECK(has(refusal(import_index(box / "m.npz")), "another CRC-32"));
}

TEST_CASE("a record without its file is no checkpoint") {
  const Sandbox box;
  write_file(box / "m.safetensors", safetensors("w", kOneTwo));
  import_whole(box / "m.safetensors");
  fs::copy_file(box / "m.safetensors.cairn", box / "n.safetensors.cairn");
  CHECK(has(refusal(Checkpoint::open(box / "n.safetensors")), "records only where the tensors of"));
}

TEST_CASE("without sums, a model in several files that was copied is read by itself") {
  const Sandbox box;
  fs::create_directory(box / "a");
  write_file(box / "a/m-1.safetensors", safetensors("w", kOneTwo));
  write_file(box / "a/m-2.safetensors", safetensors("v", kTwoOne));
  write_file(box / "a/model.safetensors.index.json",
             R"({"weight_map":{"w":"m-1.safetensors","v":"m-2.safetensors"}})");
  TransferOptions options;
  options.sums = false;
  import_whole(box / "a/model.safetensors.index.json", options);
  CHECK(first_value(opened(box / "a/model.safetensors.index.json"), "w") == 1);
  for (const char* name : {"m-1.safetensors", "m-2.safetensors"}) {
    const fs::path shard = box / ("a/" + std::string(name));
    const auto time = fs::last_write_time(shard);
    fs::copy_file(shard, box / "twin");
    fs::rename(box / "twin", shard);
    fs::last_write_time(shard, time);
  }
  const auto checkpoint = opened(box / "a/model.safetensors.index.json", 1);
  CHECK(has(checkpoint.warnings()[0], "has no checksums, and the files were copied"));
  CHECK(first_value(checkpoint, "w") == 1);
}

TEST_CASE("a checkpoint that has the name of a file does not answer for it") {
  const Sandbox box;
  const fs::path file = box / "m.safetensors";
  write_file(box / "n.safetensors", safetensors("n", kTwoOne));
  TransferOptions options;
  options.output = box / "m.safetensors.cairn-made";
  const auto made = convert(box / "n.safetensors", Format::Cairn, options);
  REQUIRE_MESSAGE(made, refusal(made));
  write_file(file, safetensors("w", kOneTwo));
  fs::rename(box / "m.safetensors.cairn-made.cairn", box / "m.safetensors.cairn");
  const Checkpoint checkpoint = opened(file, 1);
  CHECK(has(checkpoint.warnings()[0], "it does not record m.safetensors"));
  CHECK(first_value(checkpoint, "w") == 1.0F);
}

TEST_CASE("file and record that were copied together are checked before the first use") {
  const Sandbox box;
  const fs::path file = box / "m.safetensors";
  write_file(file, safetensors("w", kOneTwo));
  import_whole(file);
  fs::create_directory(box / "copy");
  for (const char* const name : {"m.safetensors", "m.safetensors.cairn"}) {
    fs::copy_file(box / name, box / "copy" / name);
    fs::last_write_time(box / "copy" / name, fs::last_write_time(box / name));
  }
  const fs::path copy = box / "copy" / "m.safetensors";
  const auto doubtful = opened(copy, 1);
  CHECK(has(doubtful.warnings()[0], "cairn import " + copy.string() + "'"));
  CHECK(first_value(doubtful, "w") == 1.0F);
  import_whole(copy);
  CHECK(opened(copy).tensor("w")->crc32c());
}

TEST_CASE("without sums nothing of the tensors is read, and an import with sums adds them") {
  const Sandbox box;
  const fs::path file = box / "m.safetensors";
  write_file(file, safetensors("w", kOneTwo));
  TransferOptions options;
  options.sums = false;
  import_whole(file, options);
  const auto verified = opened(file).verify();
  REQUIRE(verified);
  CHECK(verified->unchecked_bytes == 8);
  import_whole(file);
  CHECK(opened(file).tensor("w")->crc32c());
  import_whole(file, options);
  CHECK(opened(file).tensor("w")->crc32c());
}

TEST_CASE("one folder holds several formats under one stem, each with its record") {
  const Sandbox box;
  write_file(box / "m.safetensors", safetensors("w", kOneTwo));
  write_file(box / "m.npy", npy_of("<f4", "(2,)", false, kTwoOne));
  write_file(box / "m.npz",
             zip_of({{.name = "z.npy", .data = npy_of("<f4", "(2,)", true, kOneTwo)}}));
  for (const char* const name : {"m.safetensors", "m.npy", "m.npz"}) import_whole(box / name);
  CHECK(first_value(opened(box / "m.safetensors"), "w") == 1.0F);
  CHECK(first_value(opened(box / "m.npy"), "m") == 2.0F);
  CHECK(first_value(opened(box / "m.npz"), "z") == 1.0F);
  for (const char* const name : {"m.npy", "m.npz"})
    CHECK(opened(box / name).tensor_at(0).crc32c().has_value());
}

TEST_CASE("the hash is that of the values, also where they are stored otherwise") {
  const Sandbox box;
  const std::string columns = std::string("\1\3\2\4", 4);  // [[1, 2], [3, 4]]
  write_file(box / "f.npy", npy_of("|u1", "(2, 2)", true, columns));
  write_file(box / "b.npy", npy_of(">u2", "(2,)", false, std::string("\0\1\0\2", 4)));
  for (const char* const name : {"f.npy", "b.npy"}) import_whole(box / name);
  const auto hash = [&](const char* name) {
    return opened(box / name).tensor_at(0).content_hash();
  };
  CHECK(hash("f.npy") == format::xxh3_128(format::as_bytes(std::string("\1\2\3\4", 4))));
  CHECK(hash("b.npy") == format::xxh3_128(format::as_bytes(std::string("\1\0\2\0", 4))));
  CHECK(opened(box / "f.npy").tensor_at(0).crc32c() == format::crc32c(format::as_bytes(columns)));
}

TEST_CASE("a model in several files has one record, and any of the files may change") {
  const Sandbox box;
  write_file(box / "m-1.safetensors", safetensors("a", kOneTwo));
  write_file(box / "m-2.safetensors", safetensors("b", kTwoOne));
  const fs::path index = box / "model.safetensors.index.json";
  write_file(index, R"({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}})");
  import_whole(index);
  CHECK(fs::exists(box / "model.safetensors.index.json.cairn"));
  for (const fs::path& path : {index, box.root()}) {
    const Checkpoint checkpoint = opened(path);
    CHECK(checkpoint.tensor("b")->crc32c() == format::crc32c(format::as_bytes(kTwoOne)));
    CHECK(first_value(checkpoint, "a") == 1.0F);
  }
  write_file(box / "m-2.safetensors", safetensors("b", kOneTwo));
  fs::last_write_time(box / "m-2.safetensors",
                      fs::last_write_time(box / "m-2.safetensors") + std::chrono::seconds(3));
  CHECK(first_value(opened(index, 1), "b") == 1.0F);
}

TEST_CASE("what an index cannot say of a file is refused, or left out when that is asked for") {
  const Sandbox box;
  write_file(box / "m.npz",
             zip_of({{.name = "z.npy", .data = npy_of("<f4", "(2,)", false, kOneTwo)},
                     {.name = "packed.npy",
                      .data = npy_of("<f4", "(2,)", false, kOneTwo),
                      .deflated = true}}));
  CHECK(has(refusal(import_index(box / "m.npz")), "use convert()"));
  write_file(box / "n.npz",
             zip_of({{.name = "z.npy", .data = npy_of("<f4", "(2,)", false, kOneTwo)},
                     {.name = "o.npy", .data = npy_of("|O", "(1,)", false, "x")}}));
  CHECK(has(refusal(import_index(box / "n.npz")), "left out"));
  CHECK_FALSE(fs::exists(box / "n.npz.cairn"));
  TransferOptions options;
  options.allow_lossy = true;
  import_whole(box / "n.npz", options);
  const Checkpoint recorded = opened(box / "n.npz", 1);
  CHECK(has(recorded.warnings()[0], "\"o.npy\": the array holds Python objects"));
  CHECK(recorded.tensor("z")->crc32c().has_value());
  options.output = box / "elsewhere";
  CHECK(has(refusal(import_index(box / "n.npz", options)), "without an output"));
}

TEST_CASE("a file goes with its record; what is copied or moved has none") {
  const Sandbox box;
  const fs::path file = box / "m.safetensors";
  write_file(file, safetensors("w", kOneTwo));
  import_whole(file);
  TransferOptions options;
  options.output = box / "copy.safetensors";
  const auto copied = copy_checkpoint(file, options);
  REQUIRE_MESSAGE(copied, refusal(copied));
  CHECK(first_value(opened(box / "copy.safetensors"), "w") == 1.0F);
  options.output = box / "moved.safetensors";
  const auto moved = move_checkpoint(file, options);
  REQUIRE_MESSAGE(moved, refusal(moved));
  CHECK(first_value(opened(box / "moved.safetensors"), "w") == 1.0F);
  CHECK_FALSE(fs::exists(box / "m.safetensors.cairn"));
  import_whole(box / "copy.safetensors");
  const auto removed = remove_checkpoint(box / "copy.safetensors");
  REQUIRE_MESSAGE(removed, refusal(removed));
  CHECK_FALSE(fs::exists(box / "copy.safetensors"));
  CHECK_FALSE(fs::exists(box / "copy.safetensors.cairn"));
}

}  // namespace
}  // namespace cairn
