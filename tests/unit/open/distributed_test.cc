// Distributed checkpoints of PyTorch: tensors in chunks over several files, and what is wrong with
// those that nobody should believe.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "cairn/restore.h"
#include "cairn/salvage.h"
#include "tests/unit/open/distributed_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::distributed_metadata;
using test::Files;
using test::golden;
using test::has;
using test::read_files;
using test::refusal;
using test::SampleChunk;
using test::SampleTensor;
using test::Sandbox;
using test::saved_tensor;
using test::write_file;
using test::write_files;

const auto kGolden = golden("pytorch/distributed");

// Values of any dtype of the fixture, which count up from 0.
std::vector<double> numbers(const Tensor& tensor, const std::string& bytes) {
  std::vector<double> all;
  const std::size_t count = tensor.element_count();
  for (std::size_t i = 0; i < count; ++i) {
    const char* const at = bytes.data() + i * (bytes.size() / count);
    const auto as = [&]<class T>(T value) {
      std::memcpy(&value, at, sizeof value);
      return value;
    };
    switch (tensor.dtype()) {
      case DType::Float32:
        all.push_back(as(0.0F));
        break;
      case DType::Float64:
        all.push_back(as(0.0));
        break;
      case DType::Int32:
        all.push_back(as(std::int32_t{}));
        break;
      case DType::Uint16:
        all.push_back(as(std::uint16_t{}));
        break;
      case DType::Bfloat16: {
        const std::uint32_t bits = std::uint32_t{as(std::uint16_t{})} << 16;
        float value = 0;
        std::memcpy(&value, &bits, sizeof value);
        all.push_back(value);
        break;
      }
      default: {  // float16: whole numbers of 0 to 2,047
        const std::uint16_t bits = as(std::uint16_t{});
        const int exponent = (bits >> 10) - 15;
        all.push_back(bits == 0 ? 0 : std::ldexp(1 + (bits & 1023) / 1024.0, exponent));
      }
    }
  }
  return all;
}

void check_golden(const Checkpoint& checkpoint) {
  REQUIRE(checkpoint.tensor_count() == 7);
  const std::vector<std::pair<std::string, std::vector<std::int64_t>>> shapes = {
      {"empty", {0, 3}}, {"grid", {4, 6}},       {"one", {5}},         {"rows", {5, 4}},
      {"scalar", {}},    {"transposed", {3, 4}}, {"version_3", {3, 2}}};
  for (const auto& [name, shape] : shapes) {
    INFO(name);
    const auto tensor = checkpoint.tensor(name);
    REQUIRE_MESSAGE(tensor, refusal(tensor));
    CHECK(std::ranges::equal(tensor->shape(), shape));
    const auto value = test::value_of(*tensor);
    REQUIRE_MESSAGE(value, refusal(value));
    const auto all = numbers(*tensor, value->bytes);
    for (std::size_t i = 0; i < all.size(); ++i) CHECK(all[i] == static_cast<double>(i));
  }
}

TEST_CASE("a distributed checkpoint is one checkpoint, by its directory and each of its files") {
  for (const char* const file : {"", ".metadata", "__0_0.distcp", "__1_0.distcp"}) {
    for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
      OpenOptions options;
      options.access = access;
      const auto checkpoint = Checkpoint::open(kGolden / file, options);
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(checkpoint->format() == Format::PyTorch);
      check_golden(*checkpoint);
    }
  }
  const auto checkpoint = Checkpoint::open(kGolden);
  CHECK(checkpoint->tensor("rows")->partitioned());
  CHECK_FALSE(checkpoint->tensor("transposed")->partitioned());
  CHECK(checkpoint->metadata("step") == "7");
  CHECK(checkpoint->metadata("optimizer.param_groups.0.betas.1") == "0.999");
  CHECK(checkpoint->warnings().empty());
}

TEST_CASE("chunks that do not lie in order are put in order, and objects are left out by name") {
  const auto checkpoint = Checkpoint::open(golden("pytorch/distributed_others"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  REQUIRE(checkpoint->tensor_count() == 1);
  const Tensor tensor = checkpoint->tensor_at(0);
  const auto value = test::value_of(tensor);
  REQUIRE_MESSAGE(value, refusal(value));
  const auto all = numbers(tensor, value->bytes);
  REQUIRE(all.size() == 16);
  for (std::size_t i = 0; i < all.size(); ++i) CHECK(all[i] == static_cast<double>(i));
  REQUIRE(checkpoint->warnings().size() == 1);
  CHECK(has(checkpoint->warnings()[0], "the value \"config\" is left out"));
}

TEST_CASE("a distributed checkpoint is restored, imported, converted and verified") {
  Sandbox box;
  for (const IoMethod method : {IoMethod::Map, IoMethod::Populate, IoMethod::Read}) {
    RestoreOptions options;
    options.method = method;
    const auto restored = restore(kGolden, options);
    REQUIRE_MESSAGE(restored, refusal(restored));
    check_golden(restored->checkpoint);
  }
  const TransferOptions options{.output = box / "m"};
  CHECK(has(refusal(convert(golden("pytorch/distributed_others"), Format::Cairn, options)),
            "allow_lossy"));
  const auto done = convert(kGolden, Format::Cairn, options);
  REQUIRE_MESSAGE(done, refusal(done));
  const auto converted = Checkpoint::open(box / "m");
  REQUIRE_MESSAGE(converted, refusal(converted));
  check_golden(*converted);
  CHECK(converted->tensor("rows")->bytes());  // in one piece
}

// Two chunks in one file, and one in another.
struct Sample {
  Sample() {
    const std::string first = saved_tensor({2, 2}, "aaaabbbbccccdddd");
    const std::string second = saved_tensor({1, 2}, "eeeeffff");
    files["__0_0.distcp"] = first + second;
    const std::string third = saved_tensor({3, 1}, "xxxxyyyyzzzz");
    files["__1_0.distcp"] = third;
    const auto bytes = [](const std::string& of) { return static_cast<std::int64_t>(of.size()); };
    tensor.shape = {3, 3};
    tensor.chunks = {{"__0_0.distcp", {0, 0}, {2, 2}, 0, bytes(first)},
                     {"__0_0.distcp", {2, 0}, {1, 2}, bytes(first), bytes(second)},
                     {"__1_0.distcp", {0, 2}, {3, 1}, 0, bytes(third)}};
  }

  void write(const Sandbox& box) {
    files[".metadata"] = distributed_metadata({tensor});
    write_files(box.root(), files);
  }
  SampleTensor tensor;
  Files files;
};

TEST_CASE("chunks of any grid are one tensor") {
  Sandbox box;
  Sample sample;
  sample.tensor.chunks.push_back(sample.tensor.chunks.front());  // of a replica
  sample.tensor.chunks.push_back({.offsets = {3, 0}, .sizes = {0, 3}, .stored = false});
  sample.write(box);
  const auto checkpoint = Checkpoint::open(box.root());
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(test::value_of(*checkpoint->tensor("w"))->bytes == "aaaabbbbxxxxccccddddyyyyeeeeffffzzzz");
  CHECK(checkpoint->warnings().empty());
  // Each archive of a file has sums.
  const auto verified = checkpoint->verify();
  REQUIRE_MESSAGE(verified, refusal(verified));
  CHECK(verified->bytes_checked == 36);
  CHECK(verified->unchecked_bytes == 0);
  CHECK(verified->damage.empty());
}

TEST_CASE("verify finds damage in every archive of a distributed checkpoint") {
  for (const char* const value : {"aaaa", "eeee", "zzzz"}) {
    Sandbox box;
    Sample sample;
    for (auto& [name, bytes] : sample.files) {
      const std::size_t at = bytes.find(value);
      if (at != std::string::npos) bytes[at] = '?';
    }
    sample.write(box);
    const auto checkpoint = Checkpoint::open(box.root());
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    const auto verified = checkpoint->verify();
    REQUIRE_MESSAGE(verified, refusal(verified));
    REQUIRE(verified->damage.size() == 1);
    CHECK(verified->damage.front().tensor == "w");
  }
}

TEST_CASE("a distributed checkpoint is imported where it lies") {
  Sandbox box;
  Sample sample;
  SampleTensor column = sample.tensor;  // the same shape, and other values
  column.name = "column";
  const SampleChunk last = sample.tensor.chunks.back();
  column.chunks = {last, last, last};
  for (std::int64_t i = 0; i < 3; ++i) column.chunks[static_cast<std::size_t>(i)].offsets[1] = i;
  sample.files[".metadata"] = distributed_metadata({sample.tensor, column});
  write_files(box.root(), sample.files);
  const auto done = import_index(box.root());
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(test::fs::exists(box / ".metadata.cairn"));
  const auto checkpoint = Checkpoint::open(box.root());
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  const auto verified = checkpoint->verify();
  REQUIRE_MESSAGE(verified, refusal(verified));
  CHECK(verified->bytes_checked == 36);
  CHECK(verified->damage.empty());
  CHECK(test::value_of(*checkpoint->tensor("w"))->bytes == "aaaabbbbxxxxccccddddyyyyeeeeffffzzzz");
  // Saved again: the record does not count.
  sample.files["__1_0.distcp"] = saved_tensor({3, 1}, "XXXXYYYYZZZZ");
  sample.write(box);
  const auto again = Checkpoint::open(box.root());
  REQUIRE_MESSAGE(again, refusal(again));
  CHECK(test::value_of(*again->tensor("w"))->bytes == "aaaabbbbXXXXccccddddYYYYeeeeffffZZZZ");
}

TEST_CASE("chunks that do not make their tensor are refused, by its name") {
  struct Row {
    void (*spoil)(Sample&);
    const char* said;
  };
  const Row rows[] = {
      {[](Sample& s) { s.tensor.chunks.pop_back(); }, "6 of its 9 elements"},
      {[](Sample& s) { s.tensor.chunks.clear(); }, "0 of its 9 elements"},
      {[](Sample& s) { s.tensor.shape = {3, 4}; }, "9 of its 12 elements"},
      {[](Sample& s) { s.tensor.chunks[1].offsets = {1, 0}; }, "overlap"},
      {[](Sample& s) { s.tensor.shape = {3, 2}; }, "not inside of its shape [3,2]"},
      {[](Sample& s) { s.tensor.shape = {9}; }, "not inside of its shape [9]"},
      {[](Sample& s) { s.tensor.chunks[0].sizes = {-2, 2}; }, "no number of 0 and more"},
      {[](Sample& s) { s.tensor.chunks[0].stored = false; },
       "not said where its chunk at [0,0] is stored"},
      {[](Sample& s) { s.tensor.chunks[2].size_bytes += 1; }, "__1_0.distcp: has "},
      {[](Sample& s) { s.tensor.chunks[2].offset_bytes = 1; }, "__1_0.distcp: has "},
      {[](Sample& s) { s.tensor.chunks[2].offset_bytes = -1; }, "no offset and length"},
      {[](Sample& s) { s.tensor.chunks[1].offset_bytes -= 1; }, "__0_0.distcp"},
      {[](Sample& s) { s.tensor.chunks[0].size_bytes = s.tensor.chunks[1].offset_bytes / 2; },
       "__0_0.distcp"},
      {[](Sample& s) { s.tensor.dtype = "ctorch\nint32\n"; }, "another dtype than int32"},
      {[](Sample& s) { s.tensor.dtype = "cos\nfloat32\n"; }, "its dtype is not known"},
      {[](Sample& s) { s.tensor.chunks[2].more = "](" + test::text("zstd") + "e"; }, "extensions"},
      {[](Sample& s) { s.files.erase("__1_0.distcp"); }, "__1_0.distcp"},
      {[](Sample& s) { s.tensor.chunks[2].file = "../x.distcp"; }, "not lie in the same directory"},
      {[](Sample& s) { s.files["__1_0.distcp"] = saved_tensor({1, 3}, "xxxxyyyyzzzz"); },
       "has the shape [1,3], and not [3,1]"},
      {[](Sample& s) { s.files["__1_0.distcp"][0] = 'X'; }, "__1_0.distcp"},
  };
  for (const Row& row : rows) {
    Sandbox box;
    Sample sample;
    row.spoil(sample);
    sample.write(box);
    const std::string said = refusal(Checkpoint::open(box.root()));
    CHECK_MESSAGE(has(said, row.said), said << " not: " << row.said);
  }
}

TEST_CASE("the pickle of a distributed checkpoint is read, and bounded") {
  Sandbox box;
  Sample sample;
  sample.write(box);
  const auto refused = [&](const std::string& program) {
    write_file(box / ".metadata", "\x80\2" + program + ".");
    return refusal(Checkpoint::open(box.root()));
  };
  CHECK(has(refused("}"), "something else than the metadata of a distributed checkpoint"));
  CHECK(has(refused("cos\nsystem\n" + test::text("true") + "\x85R"), "something else"));
  CHECK(has(refused(test::metadata_object("Metadata", {})), "no dict of tensors"));
  // One entry under many names, each with chunks of many dimensions.
  const std::string chunk = test::metadata_object(
      "ChunkStorageMetadata", {{"offsets", test::size(std::vector<std::int64_t>(250, 0))},
                               {"sizes", test::size(std::vector<std::int64_t>(250, 1))}});
  std::string chunks = "](" + chunk + "q\1";
  for (int i = 0; i < 20'000; ++i) chunks += "h\1";
  const std::string entry = test::metadata_object(
      "TensorStorageMetadata", {{"properties",
                                 "ctorch.distributed.checkpoint.metadata\nTensorProperties\n)\x81("
                                 "ctorch\nfloat32\ntb"},
                                {"size", test::size(std::vector<std::int64_t>(250, 1))},
                                {"chunks", chunks + "e"}});
  const std::string place = test::metadata_object(
      "MetadataIndex",
      {{"fqn", test::text("w")}, {"offset", test::size(std::vector<std::int64_t>(250, 0))}});
  const std::string info = test::object("torch.distributed.checkpoint.filesystem", "_StorageInfo",
                                        {{"relative_path", test::text("__0_0.distcp")},
                                         {"offset", test::number(0)},
                                         {"length", test::number(1)}});
  const std::string said = refused(test::metadata_object(
      "Metadata", {{"state_dict_metadata", "}(" + test::text("w") + entry + "u"},
                   {"storage_data", "}(" + place + info + "u"}}));
  CHECK_MESSAGE(has(said, "more memory than 64 times"), said);
}

TEST_CASE("files of a distributed checkpoint without its metadata are named for what they are") {
  Sandbox box;
  Sample sample;
  sample.write(box);
  test::fs::remove(box / ".metadata");
  for (const auto& path : {box.root(), box / "__0_0.distcp"}) {
    const std::string said = refusal(Checkpoint::open(path));
    CHECK_MESSAGE(has(said, "the file .metadata is missing"), said);
  }
  write_file(box / ".metadata", "no pickle");
  CHECK_FALSE(Checkpoint::open(box.root()));
  CHECK(has(refusal(copy_checkpoint(kGolden / ".metadata", {.output = box / "copy"})), "convert"));
}

TEST_CASE("salvage brings out the tensors whose chunks are whole") {
  Sandbox box;
  Sample sample;
  SampleTensor lost = sample.tensor;
  lost.name = "lost";
  lost.chunks.pop_back();
  sample.files[".metadata"] = distributed_metadata({lost, sample.tensor});
  write_files(box.root(), sample.files);
  CHECK(has(refusal(Checkpoint::open(box.root())), "tensor \"lost\""));
  const auto salvaged = salvage(box.root(), {.output = box / "s"});
  REQUIRE_MESSAGE(salvaged, refusal(salvaged));
  const auto values = test::values_at(box / "s");
  REQUIRE_MESSAGE(values, refusal(values));
  REQUIRE(values->size() == 1);
  CHECK(values->at("w").bytes == "aaaabbbbxxxxccccddddyyyyeeeeffffzzzz");
}

TEST_CASE("every cut of a distributed checkpoint is refused, and every flip refused or another") {
  const Files whole = read_files(kGolden);
  Sandbox box;
  for (const auto& [name, bytes] : whole) {
    write_files(box.root(), whole);
    for (std::size_t size = 0; size < bytes.size(); size += 11) {
      write_file(box / name, bytes.substr(0, size));
      INFO(name << " cut at " << size);
      CHECK_FALSE(Checkpoint::open(box.root()));
    }
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
      std::string flipped = bytes;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
      write_file(box / name, flipped);
      const auto values = test::values_at(box.root());
      if (!values) CHECK(values.error().code != Code::Io);
    }
  }
}

}  // namespace
}  // namespace cairn
