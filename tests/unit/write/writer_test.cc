#include "cairn/writer.h"

#include <doctest/doctest.h>

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <thread>

#include "format/digest.h"
#include "format/le.h"
#include "format/safetensors/header.h"
#include "lib/os/file.h"
#include "lib/write/lock.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::Content;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::tensor_of;
using test::text;
using test::write_checkpoint;

constexpr const char* kFirstShard = ".data-00000-of-00001";

std::vector<Content> one_of_each() {
  return {raw("bias", DType::Float32, {1000}),
          raw("weights", DType::Float32, {64, 128}),
          raw("half", DType::Float16, {3, 5}),
          raw("flags", DType::Bool, {7}),
          raw("empty", DType::Int64, {0, 4}),
          raw("scalar", DType::Float64, {}),
          raw("complex", DType::Complex128, {3}),
          raw("nibbles", DType::Int4, {9}),
          raw("__metadata__", DType::Int32, {2}),
          raw("not \xff utf-8", DType::Int32, {2}),
          raw(std::string("\0\1slice?", 8), DType::Int32, {2}),
          raw(std::string(5000, 'n'), DType::Int32, {2}),
          text("words", {2, 2}, {"", "a", std::string(1000, 'b'), std::string("\0\xff", 2)}),
          text("no words", {0}, {})};
}

format::safetensors::HeaderFacts header_of(const std::filesystem::path& shard) {
  const std::string file = test::read_file(shard);
  const auto bytes = format::as_bytes(std::string_view(file));
  const auto json_bytes = format::safetensors::header_json_bytes(bytes.first(8));
  REQUIRE(json_bytes);
  const auto header = format::safetensors::decode_header(bytes.first(8 + *json_bytes), file.size());
  REQUIRE(header);
  return *header;
}

TEST_CASE("what was written is read again, whatever the dtype, with either index or both") {
  for (const auto& [tensorflow, cairn] : {std::pair(true, true), {true, false}, {false, true}}) {
    const Scratch scratch;
    WriterOptions options;
    options.tensorflow_index = tensorflow;
    options.cairn_index = cairn;
    write_checkpoint(scratch / "p", one_of_each(), options);
    CHECK(std::filesystem::exists(scratch / "p.index") == tensorflow);
    CHECK(std::filesystem::exists(scratch / "p.cairn") == cairn);
    const auto checkpoint = open_checkpoint(scratch / "p");
    CHECK(checkpoint.format() == (cairn ? Format::Cairn : Format::TensorFlow));
    CHECK(checkpoint.warnings().empty());
    test::check_holds(checkpoint, one_of_each());
    const auto seen = checkpoint.verify();
    REQUIRE_OK(seen);
    CHECK(seen->damage.empty());
  }
}

TEST_CASE("step and metadata are kept") {
  const Scratch scratch;
  WriterOptions options;
  options.step = -7;
  options.metadata = {{"z", "1"}, {"a", std::string("\0x", 2)}};
  write_checkpoint(scratch / "p", {raw("w", DType::Float32, {2})}, options);
  const auto checkpoint = open_checkpoint(scratch / "p");
  CHECK(checkpoint.step() == -7);
  CHECK(checkpoint.metadata("z") == "1");
  CHECK(checkpoint.metadata("a") == std::string_view("\0x", 2));
  CHECK_FALSE(checkpoint.metadata("b"));
}

TEST_CASE("safetensors' metadata stands in P.cairn and in the header, beside the other") {
  const Scratch scratch;
  WriterOptions options;
  options.metadata = {{"format", "mine"}};
  options.safetensors_metadata = {
      {"z", "caf\u00e9"}, {"format", "flax"}, {"a", ""}, {"cairn.tied", "{}"}, {"total_size", "1"}};
  write_checkpoint(scratch / "p", {raw("w", DType::Float32, {2})}, options);
  const format::KeyValues kept{
      {"z", "caf\u00e9"}, {"format", "flax"}, {"a", ""}, {"total_size", "8"}};
  CHECK(header_of(scratch / (std::string("p") + kFirstShard)).metadata == kept);
  const auto checkpoint = open_checkpoint(scratch / "p");
  REQUIRE(checkpoint.safetensors_metadata_count() == kept.size());
  for (std::size_t i = 0; i < kept.size(); ++i)
    CHECK(checkpoint.safetensors_metadata_at(i) == Checkpoint::KeyValue(kept[i]));
  CHECK(checkpoint.safetensors_metadata("format") == "flax");
  CHECK_FALSE(checkpoint.safetensors_metadata("none"));
  REQUIRE(checkpoint.metadata_count() == 1);
  CHECK(checkpoint.metadata_at(0) == Checkpoint::KeyValue("format", "mine"));
}

TEST_CASE("an opaque dtype is written byte for byte, and P.index leaves it out with a warning") {
  const Scratch scratch;
  std::vector<TensorSpec> specs{{"a", DType::Float32, {1}},
                                {"f4", DType::Opaque, {3}, {"F4", 4}},
                                {"mine", DType::Opaque, {2}, {"mine", 24}},
                                {"tied", DType::Opaque, {2}, {"mine", 24}},
                                {"", DType::Int8, {}}};
  auto writer = Writer::create(scratch / "p", specs);
  REQUIRE_OK(writer);
  REQUIRE(writer->warnings().size() == 1);
  for (const char* word : {"p: P.index leaves out 4 tensors", "\"f4\" (F4 [3])", "\"\" (int8 [])"})
    CHECK(writer->warnings()[0].find(word) != std::string::npos);
  CHECK(refusal(writer->tie("f4", "mine")) == Code::Invalid);
  REQUIRE_OK(writer->tie("tied", "mine"));
  REQUIRE_OK(writer->write("a", test::random_bytes(4, 1)));
  REQUIRE_OK(writer->write("f4", test::random_bytes(2, 2)));
  REQUIRE_OK(writer->append("mine", test::random_bytes(6, 3)));
  REQUIRE_OK(writer->write("", test::random_bytes(1, 4)));
  CHECK(refusal(writer->write_strings("f4", {})) == Code::Invalid);
  REQUIRE_OK(writer->commit());
  const auto checkpoint = open_checkpoint(scratch / "p");
  CHECK(checkpoint.tensor_count() == 5);
  CHECK(test::bytes_of(tensor_of(checkpoint, "f4")) == test::random_bytes(2, 2));
  CHECK(tensor_of(checkpoint, "mine").dtype_name() == "mine");
  CHECK(tensor_of(checkpoint, "mine").element_bits() == 24);
  CHECK(test::bytes_of(tensor_of(checkpoint, "tied")) == test::random_bytes(6, 3));
  CHECK(test::bytes_of(tensor_of(checkpoint, "")) == test::random_bytes(1, 4));
  CHECK(checkpoint.verify()->damage.empty());
  OpenOptions wanted;
  wanted.expected = specs;
  REQUIRE_OK(Checkpoint::open(scratch / "p", wanted));
  specs[1].opaque.name = "F5";
  CHECK(refusal(Checkpoint::open(scratch / "p", wanted), {"is F4 [3], expected F5 [3]"}) ==
        Code::Invalid);
  std::filesystem::remove(scratch / "p.cairn");
  CHECK(open_checkpoint(scratch / "p").tensor_count() == 1);
}

TEST_CASE("what of the checkpoint before is gone or different is said") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("a", DType::Float32, {2}), raw("b", DType::Int8, {}),
                                   raw("c", DType::Int8, {3})});
  for (const bool with_cairn : {true, false}) {
    if (!with_cairn) std::filesystem::remove(scratch / "p.cairn");
    const std::vector<Content> anew{raw("a", DType::Float32, {2}), raw("c", DType::Int8, {4}),
                                    raw("d", DType::Int8, {})};
    auto writer = Writer::create(scratch / "p", test::specs_of(anew));
    REQUIRE_OK(writer);
    for (const Content& content : anew) REQUIRE_OK(test::write_content(*writer, content));
    CHECK(writer->warnings().empty());
    REQUIRE_OK(writer->commit());
    if (with_cairn) {
      REQUIRE(writer->warnings().size() == 1);
      for (const char* word : {"tensor \"b\" (int8 []) is not in the new checkpoint",
                               "tensor \"c\" was int8 [3] and is now int8 [4]"})
        CHECK(writer->warnings()[0].find(word) != std::string::npos);
    } else {
      CHECK(writer->warnings().empty());  // the same tensors again
    }
  }
}

TEST_CASE("the shard is a safetensors file that names each tensor where it lies") {
  const Scratch scratch;
  const std::vector<Content> contents{raw("a", DType::Float32, {3, 4}), raw("b", DType::Int64, {0}),
                                      raw("c", DType::Uint8, {4099}),
                                      raw("d", DType::Bfloat16, {})};
  write_checkpoint(scratch / "p", contents);
  const auto header = header_of(scratch / (std::string("p") + kFirstShard));
  REQUIRE(header.tensors.size() == contents.size());
  const auto checkpoint = open_checkpoint(scratch / "p");
  for (const auto& tensor : header.tensors) {
    CHECK(tensor.span.offset_bytes == tensor_of(checkpoint, tensor.name).offset_bytes());
    CHECK(tensor.span.offset_bytes >= 4096);
  }
  CHECK(header.metadata == format::KeyValues{{"format", "pt"}});
}

TEST_CASE("what safetensors cannot say goes to a second shard") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", one_of_each());
  const auto checkpoint = open_checkpoint(scratch / "p");
  REQUIRE(checkpoint.shard_count() == 2);
  for (const char* name :
       {"complex", "nibbles", "__metadata__", "not \xff utf-8", "words", "no words"})
    CHECK(tensor_of(checkpoint, name).shard() == "p.data-00001-of-00002");
  for (const char* name : {"bias", "weights", "half", "flags", "empty", "scalar"})
    CHECK(tensor_of(checkpoint, name).shard() == "p.data-00000-of-00002");
  CHECK(header_of(scratch / "p.data-00000-of-00002").tensors.size() == 8);
}

TEST_CASE("every tensor is aligned in memory to its class, or as was asked for") {
  for (const unsigned alignment : {0u, 64u, 4096u}) {
    const Scratch scratch;
    WriterOptions options;
    options.alignment_bytes = alignment;
    write_checkpoint(scratch / "p", one_of_each(), options);
    const auto checkpoint = open_checkpoint(scratch / "p");
    for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
      const Tensor tensor = checkpoint.tensor_at(i);
      INFO(std::string(tensor.name()));
      const auto bytes = tensor.bytes();
      REQUIRE_OK(bytes);
      const bool encoded = tensor.dtype() == DType::String;
      const std::uint64_t element = encoded ? 1 : element_bytes(tensor.dtype());
      const std::uint64_t wanted = alignment != 0 ? alignment : element;
      if (!bytes->empty()) CHECK(reinterpret_cast<std::uintptr_t>(bytes->data()) % wanted == 0);
    }
    CHECK(checkpoint.verify()->damage.empty());
  }
}

TEST_CASE("chunks of odd sizes make the same shard as one write") {
  const Scratch scratch;
  const std::vector<Content> contents{raw("big", DType::Uint8, {3'500'001}),
                                      raw("small", DType::Int32, {5})};
  write_checkpoint(scratch / "whole", contents);
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  auto writer = Writer::create(scratch / "parts", test::specs_of(contents));
  REQUIRE_OK(writer);
  for (const Content& content : contents) {
    for (std::span<const std::byte> left = content.bytes; !left.empty();) {
      const auto size = std::min<std::size_t>(left.size(), random() % 700'000);
      REQUIRE_OK(writer->append(content.spec.name, left.first(size)));
      left = left.subspan(size);
    }
  }
  REQUIRE_OK(writer->commit());
  CHECK(test::read_file(scratch / "whole.data-00000-of-00001") ==
        test::read_file(scratch / "parts.data-00000-of-00001"));
  const auto whole = open_checkpoint(scratch / "whole");
  const auto parts = open_checkpoint(scratch / "parts");
  CHECK(whole.tensor("big")->crc32c() == parts.tensor("big")->crc32c());
  CHECK(whole.tensor("big")->content_hash() == parts.tensor("big")->content_hash());
}

TEST_CASE("checksum and content hash are those of the bytes") {
  const Scratch scratch;
  const std::vector<Content> contents{raw("big", DType::Uint8, {2'100'000}),
                                      raw("none", DType::Int32, {0})};
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  for (const Content& content : contents) {
    const Tensor tensor = tensor_of(checkpoint, content.spec.name);
    CHECK(tensor.crc32c() == format::crc32c(content.bytes));
    CHECK(tensor.content_hash() == format::xxh3_128(content.bytes));
  }
}

TEST_CASE("identical inputs give identical shards") {
  const Scratch scratch;
  write_checkpoint(scratch / "a", one_of_each());
  write_checkpoint(scratch / "b", one_of_each());
  for (const char* shard : {".data-00000-of-00002", ".data-00001-of-00002"}) {
    CHECK(test::read_file(scratch / (std::string("a") + shard)) ==
          test::read_file(scratch / (std::string("b") + shard)));
  }
}

TEST_CASE("tensors come in any order and from several threads") {
  const Scratch scratch;
  std::vector<Content> contents = one_of_each();
  for (int i = 0; i < 60; ++i)
    contents.push_back(raw("t" + std::to_string(i), DType::Float32, {i, 999}));
  auto writer = Writer::create(scratch / "p", test::specs_of(contents));
  REQUIRE_OK(writer);
  std::ranges::shuffle(contents, std::mt19937_64(1));
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = t; i < contents.size(); i += 4) {
          if (!write_content(*writer, contents[i])) std::abort();
        }
      });
    }
  }
  REQUIRE_OK(writer->commit());
  const auto checkpoint = open_checkpoint(scratch / "p");
  test::check_holds(checkpoint, contents);
  CHECK(checkpoint.verify()->damage.empty());
}

TEST_CASE("tied tensors share their bytes, and the first in byte order stands in the header") {
  const Scratch scratch;
  Content owner = raw("z/embedding", DType::Float32, {10, 4});
  Content alias = owner;
  alias.spec.name = "a/head";
  alias.spec.shape = {4, 10};
  Content third = owner;
  third.spec.name = "m/third";
  const std::vector<Content> contents{owner, alias, third, raw("other", DType::Float32, {8})};
  auto writer = Writer::create(scratch / "p", test::specs_of(contents));
  REQUIRE_OK(writer);
  REQUIRE_OK(writer->tie("z/embedding", "m/third"));
  REQUIRE_OK(writer->tie("m/third", "a/head"));
  CHECK(refusal(writer->tie("a/head", "z/embedding")) == Code::Invalid);
  REQUIRE_OK(writer->write("a/head", alias.bytes));
  CHECK(refusal(writer->write("z/embedding", owner.bytes), {"a/head"}) == Code::Invalid);
  REQUIRE_OK(write_content(*writer, contents[3]));
  CHECK(refusal(writer->tie("other", "a/head"), {"before"}) == Code::Invalid);
  REQUIRE_OK(writer->commit());
  const auto checkpoint = open_checkpoint(scratch / "p");
  test::check_holds(checkpoint, contents);
  CHECK(tensor_of(checkpoint, "a/head").offset_bytes() ==
        tensor_of(checkpoint, "z/embedding").offset_bytes());
  const auto header = header_of(scratch / (std::string("p") + kFirstShard));
  CHECK(header.tensors.size() == 2);
  CHECK(header.metadata[0] == std::pair<std::string, std::string>(
                                  "cairn.tied", R"({"m/third":"a/head","z/embedding":"a/head"})"));
}

TEST_CASE("only numeric tensors of the same dtype and size are tied") {
  const Scratch scratch;
  auto writer = Writer::create(scratch / "p", {{"f", DType::Float32, {4}},
                                               {"g", DType::Float32, {5}},
                                               {"i", DType::Int32, {4}},
                                               {"s", DType::String, {1}},
                                               {"t", DType::String, {1}}});
  REQUIRE_OK(writer);
  CHECK(refusal(writer->tie("f", "g")) == Code::Invalid);
  CHECK(refusal(writer->tie("f", "i")) == Code::Invalid);
  CHECK(refusal(writer->tie("s", "t")) == Code::Invalid);
  CHECK(refusal(writer->tie("f", "f")) == Code::Invalid);
  CHECK(refusal(writer->tie("f", "nobody"), {"nobody"}) == Code::NotFound);
}

TEST_CASE("nothing has a name before commit, and nothing is left without it") {
  const Scratch scratch;
  {
    const auto contents = one_of_each();
    auto writer = Writer::create(scratch / "p", test::specs_of(contents));
    REQUIRE_OK(writer);
    for (const Content& content : contents) REQUIRE_OK(write_content(*writer, content));
    for (const std::string& name : scratch.names())
      CHECK(name.find(".cairn-tmp-") != std::string::npos);
    CHECK_FALSE(Checkpoint::open(scratch / "p"));
    Writer moved = *std::move(writer);
  }
  CHECK(scratch.names().empty());
}

TEST_CASE("published shards have no write bits, and indexes follow the umask") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", one_of_each());
  for (const std::string& name : scratch.names()) {
    struct stat status{};
    REQUIRE(::stat((scratch / name).c_str(), &status) == 0);
    const bool shard = name.find(".data-") != std::string::npos;
    CHECK(((status.st_mode & 0222) == 0) == shard);
    CHECK((status.st_mode & 0400) != 0);
  }
}

TEST_CASE("a meta graph lies beside the checkpoint as it was given") {
  const Scratch scratch;
  WriterOptions options;
  options.meta_graph = std::string("graph\0bytes", 11);
  write_checkpoint(scratch / "p", {raw("w", DType::Float32, {2})}, options);
  CHECK(test::read_file(scratch / "p.meta") == options.meta_graph);
}

TEST_CASE("missing parent directories are made") {
  const Scratch scratch;
  write_checkpoint(scratch / "a/b/p", {raw("w", DType::Float32, {2})});
  CHECK(Checkpoint::open(scratch / "a/b/p"));
}

TEST_CASE("a checkpoint without tensors is one") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {});
  CHECK(open_checkpoint(scratch / "p").tensor_count() == 0);
  CHECK(open_checkpoint(scratch / "p").verify()->damage.empty());
}

// ---- Saving over a checkpoint

std::vector<Content> version(int number) {
  std::vector<Content> contents;
  for (const char* name : {"a", "b", "c"}) {
    Content content = raw(name, DType::Int32, {100});
    std::ranges::fill(content.bytes, static_cast<std::byte>(number));
    contents.push_back(std::move(content));
  }
  return contents;
}

std::set<std::string> shards_in(const Scratch& scratch) {
  std::set<std::string> shards;
  for (const std::string& name : scratch.names()) {
    if (name.find(".data-") != std::string::npos && name.find("tmp") == std::string::npos)
      shards.insert(name);
  }
  return shards;
}

TEST_CASE("the old checkpoint stays whole until the new one is committed, and is gone after") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", version(1));
  const auto old = open_checkpoint(scratch / "p");
  const auto contents = version(2);
  auto writer = Writer::create(scratch / "p", test::specs_of(contents));
  REQUIRE_OK(writer);
  for (const Content& content : contents) REQUIRE_OK(write_content(*writer, content));
  test::check_holds(open_checkpoint(scratch / "p"), version(1));
  REQUIRE_OK(writer->commit());
  test::check_holds(old, version(1));
  test::check_holds(open_checkpoint(scratch / "p"), version(2));
  CHECK(old.verify()->damage.empty());
  CHECK(shards_in(scratch) ==
        std::set<std::string>{"p.data-00000-of-00002", "p.data-00001-of-00002"});
}

TEST_CASE("a shard's name is never taken while it is there, and the number of shards falls back") {
  const Scratch scratch;
  std::vector<std::size_t> counts;
  for (int i = 1; i <= 4; ++i) {
    const auto before = shards_in(scratch);
    write_checkpoint(scratch / "p", version(i));
    const auto after = shards_in(scratch);
    for (const std::string& name : before) CHECK_FALSE(after.contains(name));
    counts.push_back(after.size());
    const auto checkpoint = open_checkpoint(scratch / "p");
    test::check_holds(checkpoint, version(i));
    CHECK(checkpoint.warnings().empty());
  }
  CHECK(counts == std::vector<std::size_t>{1, 2, 1, 2});
}

TEST_CASE("files named like shards that no index names are skipped, and stay") {
  const Scratch scratch;
  for (const char* name : {"p.data-00000-of-00001", "p.data-00001-of-00002"})
    std::ofstream(scratch / name) << "somebody's";
  std::ofstream(scratch / "px.data-00000-of-00003") << "another prefix";
  for (int i = 1; i <= 3; ++i) {
    write_checkpoint(scratch / "p", version(i));
    test::check_holds(open_checkpoint(scratch / "p"), version(i));
  }
  CHECK(shards_in(scratch) ==
        std::set<std::string>{"p.data-00000-of-00001", "p.data-00000-of-00003",
                              "p.data-00001-of-00002", "p.data-00001-of-00003",
                              "p.data-00002-of-00003", "px.data-00000-of-00003"});
}

TEST_CASE("temporary files of a save that died go with the next one, those of a living one stay") {
  const Scratch scratch;
  const std::string dead = "p.index.cairn-tmp-0123456789abcdef";
  const std::string other = "px.index.cairn-tmp-0123456789abcdef";
  const auto contents = version(1);
  auto living = Writer::create(scratch / "p", test::specs_of(contents));
  REQUIRE_OK(living);
  REQUIRE_OK(write_content(*living, contents.front()));
  const auto theirs = scratch.names();
  REQUIRE_FALSE(theirs.empty());
  for (const std::string& name : {dead, other}) std::ofstream(scratch / name) << "left behind";
  write_checkpoint(scratch / "p", version(2));
  const auto left = scratch.names();
  CHECK_FALSE(left.contains(dead));
  CHECK_FALSE(left.contains(other));
  for (const std::string& name : theirs) CHECK(left.contains(name));
}

TEST_CASE("who begins beside living writers takes no lock that others may meet") {
  const Scratch scratch;
  const auto contents = version(1);
  std::vector<Writer> writers;
  for (const char* base : {"p", "q", "r"}) {
    auto writer = Writer::create(scratch / base, test::specs_of(contents));
    REQUIRE_OK(writer);
    REQUIRE_OK(write_content(*writer, contents.front()));
    writers.push_back(*std::move(writer));
  }
  CHECK_FALSE(scratch.names().contains(".cairn-lock"));
}

TEST_CASE("an index of the kind that is not wanted goes, whatever was there before") {
  for (const bool tensorflow : {false, true}) {
    const Scratch scratch;
    write_checkpoint(scratch / "p", version(1));
    WriterOptions options;
    options.tensorflow_index = tensorflow;
    options.cairn_index = !tensorflow;
    write_checkpoint(scratch / "p", version(2), options);
    CHECK(std::filesystem::exists(scratch / "p.index") == tensorflow);
    CHECK(std::filesystem::exists(scratch / "p.cairn") == !tensorflow);
    const auto checkpoint = open_checkpoint(scratch / "p");
    test::check_holds(checkpoint, version(2));
    CHECK(checkpoint.warnings().empty());
  }
}

TEST_CASE("old shards that cannot be removed are no failure of the new checkpoint") {
  const Scratch scratch;
  std::filesystem::create_directories(scratch / "p.data-00000-of-00007/full");
  write_checkpoint(scratch / "p", version(1));
  test::check_holds(open_checkpoint(scratch / "p"), version(1));
}

TEST_CASE("of two writers of one prefix the second to commit wins, and both leave a whole one") {
  const Scratch scratch;
  const auto mine = version(1);
  const auto theirs = version(2);
  auto first = Writer::create(scratch / "p", test::specs_of(mine));
  auto second = Writer::create(scratch / "p", test::specs_of(theirs));
  REQUIRE_OK(first);
  REQUIRE_OK(second);
  for (std::size_t i = 0; i < mine.size(); ++i) {
    REQUIRE_OK(write_content(*first, mine[i]));
    REQUIRE_OK(write_content(*second, theirs[i]));
  }
  REQUIRE_OK(first->commit());
  test::check_holds(open_checkpoint(scratch / "p"), mine);
  REQUIRE_OK(second->commit());
  test::check_holds(open_checkpoint(scratch / "p"), theirs);
  CHECK(shards_in(scratch).size() == 1);
}

TEST_CASE("a writer that may not replace finds out last what came meanwhile") {
  const Scratch scratch;
  WriterOptions options;
  options.replace = false;
  auto late = Writer::create(scratch / "p", test::specs_of(version(1)), options);
  REQUIRE_OK(late);
  for (const auto& content : version(1)) REQUIRE_OK(write_content(*late, content));
  write_checkpoint(scratch / "p", version(2));
  CHECK(refusal(late->commit(), {"p.cairn is there"}) == Code::Exists);
  test::check_holds(open_checkpoint(scratch / "p"), version(2));
}

TEST_CASE("a commit waits for who publishes under its prefix, as long as it is told") {
  const Scratch scratch;
  const auto directory = os::Directory::open(scratch.path());
  REQUIRE_OK(directory);
  const auto writer_of = [&](const char* prefix, std::chrono::milliseconds wait) {
    WriterOptions options;
    options.lock_wait = wait;
    auto writer = Writer::create(scratch / prefix, test::specs_of(version(1)), options);
    REQUIRE_OK(writer);
    for (const auto& content : version(1)) REQUIRE_OK(write_content(*writer, content));
    return *std::move(writer);
  };
  using std::chrono::milliseconds;
  Writer hasty = writer_of("p", milliseconds(0));
  Writer patient = writer_of("p", milliseconds::max());
  Writer elsewhere = writer_of("q", milliseconds(0));
  std::optional<internal::Lock> lock;
  auto taken = internal::Lock::of_prefix(*directory, "p", {});
  REQUIRE_OK(taken);
  lock.emplace(*std::move(taken));
  CHECK(refusal(hasty.commit(), {"/p: is locked by", "process ", "0 ms"}) == Code::Busy);
  REQUIRE_OK(elsewhere.commit());  // another prefix, another lock
  std::thread other([&] {
    std::this_thread::sleep_for(milliseconds(50));
    lock.reset();
  });
  REQUIRE_OK(patient.commit());
  other.join();
  REQUIRE_OK(hasty.commit());  // nothing had happened
  test::check_holds(open_checkpoint(scratch / "p"), version(1));
}

TEST_CASE("a dtype of blocks is kept byte for byte, and its blocks are whole") {
  Scratch scratch;
  const OpaqueDType q4{"Q4_K", 0, 256, 144};
  std::vector<TensorSpec> specs{{"a", DType::Opaque, {2, 256}, q4}, {"b", DType::Opaque, {0}, q4}};
  auto writer = Writer::create(scratch / "p", specs);
  REQUIRE_OK(writer);
  const auto bytes = test::random_bytes(288, 1);
  REQUIRE_OK(writer->write("a", bytes));
  REQUIRE_OK(writer->write("b", {}));
  REQUIRE_OK(writer->commit());
  const auto checkpoint = open_checkpoint(scratch / "p");
  const auto spec = tensor_of(checkpoint, "a").spec();
  REQUIRE_OK(spec);
  CHECK(spec->opaque == q4);
  CHECK(tensor_of(checkpoint, "a").element_bits() == 0);
  CHECK(test::bytes_of(tensor_of(checkpoint, "a")) == bytes);
  CHECK(checkpoint.verify()->damage.empty());
  const Range row[] = {{0, 1}, {}};
  CHECK(refusal(tensor_of(checkpoint, "a").read_bytes(row)) == Code::Unsupported);

  specs[0].shape = {2, 255};
  CHECK(refusal(Writer::create(scratch / "q", specs),
                {"510 elements do not fill whole blocks of 256"}) == Code::Invalid);
  specs[0].shape = {2, 256};
  specs[1].opaque.block_bytes = 145;
  CHECK(refusal(Writer::create(scratch / "q", specs), {"Q4_K", "different layouts"}) ==
        Code::Invalid);
  specs[1].opaque = {"none"};
  CHECK(refusal(Writer::create(scratch / "q", specs), {"needs a name and either"}) ==
        Code::Invalid);
}

}  // namespace
}  // namespace cairn
