// Opening by the index alone, with and without the shards beside it.

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "cairn/cairn.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::golden;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::tensor_of;
using test::text;
using test::write_checkpoint;

OpenOptions index_only() {
  OpenOptions options;
  options.index_only = true;
  return options;
}

std::vector<test::Content> contents() {
  return {raw("b/long", DType::Int32, {1000}), raw("w", DType::Float32, {3, 4}),
          raw("empty", DType::Float32, {0}), text("words", {2}, {"one", "two"})};
}

void remove_shards(const Scratch& scratch) {
  for (const std::string& name : scratch.names()) {
    if (name.find(".data-") != std::string::npos) std::filesystem::remove(scratch / name);
  }
}

// Everything that an index says, as a text.
std::string said(const Checkpoint& checkpoint) {
  std::string all = std::to_string(checkpoint.step().value_or(-1)) + "\n";
  for (const auto& [key, value] : checkpoint.metadata())
    all += std::string(key) + "=" + std::string(value) + "\n";
  for (std::size_t i = 0; i < checkpoint.shard_count(); ++i)
    all += std::string(checkpoint.shard_at(i).name) + "\n";
  for (const Tensor& tensor : checkpoint) {
    all += std::string(tensor.name()) + " " + std::string(tensor.dtype_name());
    for (const std::int64_t dimension : tensor.shape()) all += " " + std::to_string(dimension);
    all += " " + std::to_string(tensor.size_bytes()) + " at " +
           std::to_string(tensor.offset_bytes()) + " of " + std::string(tensor.shard()) + " " +
           std::to_string(tensor.crc32c().value_or(0)) + "\n";
  }
  return all;
}

// Every call that needs bytes must say that it cannot.
void check_refuses_bytes(const Checkpoint& checkpoint, std::string_view name) {
  constexpr std::string_view kWords = "was opened with index_only";
  const Tensor tensor = tensor_of(checkpoint, name);
  std::vector<std::byte> out(tensor.size_bytes());
  CHECK(refusal(tensor.bytes(), {kWords}) == Code::Unsupported);
  CHECK(refusal(tensor.strided_bytes(), {kWords}) == Code::Unsupported);
  CHECK(refusal(tensor.read(out), {kWords}) == Code::Unsupported);
  CHECK(refusal(checkpoint.verify(), {kWords}) == Code::Unsupported);
  CHECK(refusal(checkpoint.prefetch(), {kWords}) == Code::Unsupported);
  CHECK(refusal(checkpoint.prefetch({{name}}), {kWords}) == Code::Unsupported);
  CHECK(refusal(checkpoint.resident_bytes(), {kWords}) == Code::Unsupported);
  const Read reads[] = {{name, {}, out}};
  CHECK(refusal(checkpoint.read(reads), {kWords}) == Code::Unsupported);
  CHECK(refusal(checkpoint.read({}), {kWords}) == Code::Unsupported);
  CHECK_FALSE(checkpoint.faulted());
}

TEST_CASE("a checkpoint is listed and looked up without a shard, as it is with them") {
  const Scratch scratch;
  WriterOptions writing;
  writing.step = 42;
  writing.metadata = {{"who", "me"}};
  write_checkpoint(scratch / "p", contents(), writing);
  const std::string whole = said(open_checkpoint(scratch / "p"));
  const auto digest = open_checkpoint(scratch / "p").digest();
  REQUIRE(digest);
  CHECK(said(open_checkpoint(scratch / "p", index_only())) == whole);
  remove_shards(scratch);
  CHECK(refusal(Checkpoint::open(scratch / "p")) == Code::NotFound);
  OpenOptions options = index_only();
  options.expected_digest = digest;
  const auto specs = test::specs_of(contents());
  options.expected = specs;
  const Checkpoint listed = open_checkpoint(scratch / "p", options);
  CHECK(listed.format() == Format::Cairn);
  CHECK(said(listed) == whole);
  CHECK(listed.digest() == digest);
  CHECK(listed.contains("w"));
  CHECK(refusal(listed.tensor("v"), {"no tensor \"v\""}) == Code::NotFound);
  CHECK(listed.warnings().empty());
}

TEST_CASE("every call that needs bytes says that only the index was opened") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  for (const bool with_shards : {true, false}) {
    if (!with_shards) remove_shards(scratch);
    const Checkpoint listed = open_checkpoint(scratch / "p", index_only());
    check_refuses_bytes(listed, "w");
    const Tensor tensor = tensor_of(listed, "w");
    CHECK(refusal(tensor.as<float>(), {"index_only"}) == Code::Unsupported);
    CHECK(refusal(tensor.values<float>(), {"index_only"}) == Code::Unsupported);
    CHECK(refusal(tensor.as<double>(), {"is float32, not float64"}) == Code::Invalid);
    CHECK(refusal(tensor_of(listed, "words").strings(), {"index_only"}) == Code::Unsupported);
    CHECK(tensor.read_bytes().value() == 48);
    const Range row[] = {{1, 1}, {}};
    CHECK(tensor.read_bytes(row).value() == 16);
    std::vector<std::byte> out(16);
    CHECK(refusal(tensor.read(out, row), {"index_only"}) == Code::Unsupported);
  }
}

TEST_CASE("TensorFlow's index is listed without its shards; their sizes reach to the last tensor") {
  for (const char* name : {"shapes/all", "partitioned/part", "strings/all", "sharded/shard-42"}) {
    INFO(name);
    const Scratch scratch;
    const auto from = golden("tensorflow") / (std::string(name) + ".index");
    std::filesystem::copy_file(from, scratch / "p.index");
    const Checkpoint whole = open_checkpoint(golden("tensorflow") / name);
    const Checkpoint listed = open_checkpoint(scratch / "p", index_only());
    CHECK(listed.format() == Format::TensorFlow);
    REQUIRE(listed.tensor_count() == whole.tensor_count());
    REQUIRE(listed.shard_count() == whole.shard_count());
    for (std::size_t i = 0; i < listed.shard_count(); ++i)
      CHECK(listed.shard_at(i).size_bytes <= whole.shard_at(i).size_bytes);
    for (std::size_t i = 0; i < listed.tensor_count(); ++i) {
      CHECK(listed.tensor_at(i).name() == whole.tensor_at(i).name());
      CHECK(listed.tensor_at(i).dtype() == whole.tensor_at(i).dtype());
      CHECK(std::ranges::equal(listed.tensor_at(i).shape(), whole.tensor_at(i).shape()));
      CHECK(listed.tensor_at(i).offset_bytes() == whole.tensor_at(i).offset_bytes());
    }
    check_refuses_bytes(listed, listed.tensor_at(0).name());
  }
}

TEST_CASE("a file that is its own index is read, and its tensors are not") {
  for (const char* name :
       {"gguf/types.gguf", "flat/dtypes.ptd", "hdf5/latest.h5", "gguf/model-00001-of-00003.gguf"}) {
    INFO(name);
    const Checkpoint whole = open_checkpoint(golden(name));
    const Checkpoint listed = open_checkpoint(golden(name), index_only());
    CHECK(listed.format() == whole.format());
    CHECK(said(listed) == said(whole));
    check_refuses_bytes(listed, listed.tensor_at(0).name());
  }
}

TEST_CASE("what a damaged index or the options rule out is refused as without index_only") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", contents());
  OpenOptions options = index_only();
  options.verify = Verify::Full;
  CHECK(refusal(Checkpoint::open(scratch / "p", options), {"index_only"}) == Code::Invalid);
  for (const Access access : {Access::Private, Access::Copy}) {
    options = index_only();
    options.access = access;
    CHECK(refusal(Checkpoint::open(scratch / "p", options), {"index_only"}) == Code::Invalid);
  }
  options = index_only();
  options.expected_digest = Digest128{};
  CHECK(refusal(Checkpoint::open(scratch / "p", options)) == Code::Invalid);
  CHECK(refusal(Checkpoint::open(scratch / "q", index_only())) == Code::NotFound);
  remove_shards(scratch);
  test::flip_bit(scratch / "p.cairn", 200);
  CHECK(refusal(Checkpoint::open(scratch / "p", index_only())) == Code::Corrupt);
}

TEST_CASE("a V1 checkpoint, whose index holds the values, is refused") {
  const auto refused = Checkpoint::open(golden("tensorflow/v1/old.ckpt-3"), index_only());
  CHECK(refusal(refused, {"is a V1 checkpoint", "without index_only"}) == Code::Unsupported);
}

TEST_CASE("an object graph, which lies in a tensor, is refused with the reason") {
  const Checkpoint listed =
      open_checkpoint(golden("tensorflow/tf2_manager/tf_ckpts/ckpt-6"), index_only());
  CHECK(refusal(read_object_graph(listed), {"index_only"}) == Code::Unsupported);
}

}  // namespace
}  // namespace cairn
