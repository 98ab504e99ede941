// What an open checkpoint gives: views, copies, slices, and what it says when it cannot.

#include "cairn/checkpoint.h"

#include <doctest/doctest.h>
#include <chrono>

#include <algorithm>
#include <random>
#include <thread>

#include "format/digest.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "tests/unit/golden.h"
#include "tests/unit/naive.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::bytes_of;
using test::Content;
using test::golden;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::tensor_of;
using test::text;
using test::write_checkpoint;

OpenOptions access_by(Access access, Verify verify = Verify::Lazy) {
  OpenOptions options;
  options.access = access;
  options.verify = verify;
  return options;
}

constexpr Access kAccesses[]{Access::Shared, Access::Private, Access::Copy};
constexpr Verify kVerifies[]{Verify::Lazy, Verify::Full, Verify::None};

// ---- Views

TEST_CASE("a view of another dtype is refused, and the sentence names both") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("w", DType::Int32, {3}), text("s", {1}, {"x"})});
  const auto checkpoint = open_checkpoint(scratch / "p");
  const Tensor tensor = tensor_of(checkpoint, "w");
  CHECK(refusal(tensor.as<float>(), {"\"w\"", "int32", "float32"}) == Code::Invalid);
  CHECK(refusal(tensor.as<std::uint32_t>(), {"int32", "uint32"}) == Code::Invalid);
  CHECK(refusal(tensor.values<std::int64_t>(), {"int32", "int64"}) == Code::Invalid);
  CHECK(refusal(tensor.strings(), {"\"w\"", "int32"}) == Code::Invalid);
  CHECK(refusal(tensor_of(checkpoint, "s").as<std::uint8_t>(), {"string", "strings()"}) ==
        Code::Invalid);
  REQUIRE_OK(tensor.as<std::int32_t>());
  CHECK(tensor.as<std::int32_t>()->size() == 3);
}

TEST_CASE("an unaligned tensor of TensorFlow's is refused as a view and given as values") {
  const auto checkpoint = open_checkpoint(golden("tensorflow/shapes/all"));
  const Tensor tensor = tensor_of(checkpoint, "rank8");
  CHECK(refusal(tensor.as<double>(), {"\"rank8\"", "8 bytes", "values()"}) == Code::Unsupported);
  const auto values = tensor.values<double>();
  REQUIRE_OK(values);
  const std::string shard = test::read_file(golden("tensorflow/shapes/all.data-00000-of-00001"));
  const std::string_view stored = std::string_view(shard).substr(tensor.offset_bytes(), 192);
  CHECK(std::ranges::equal(std::as_bytes(std::span(*values)), format::as_bytes(stored)));
  REQUIRE_OK(tensor.bytes());
  CHECK(tensor.bytes()->size() == 192);
}

TEST_CASE("a dtype without a C++ type of its own is viewed as its storage dtype") {
  const Scratch scratch;
  const std::vector<Content> contents{
      raw("bool", DType::Bool, {5}),           raw("qint8", DType::Qint8, {5}),
      raw("quint16", DType::Quint16, {5}),     raw("qint32", DType::Qint32, {5}),
      raw("float8", DType::Float8E4M3FN, {5}), raw("int4", DType::Int4, {5})};
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  CHECK(tensor_of(checkpoint, "bool").as<std::uint8_t>());
  CHECK(tensor_of(checkpoint, "qint8").as<std::int8_t>());
  CHECK(tensor_of(checkpoint, "quint16").as<std::uint16_t>());
  CHECK(tensor_of(checkpoint, "qint32").as<std::int32_t>());
  CHECK(tensor_of(checkpoint, "float8").as<std::uint8_t>());
  CHECK(tensor_of(checkpoint, "int4").values<std::uint8_t>());
  CHECK_FALSE(tensor_of(checkpoint, "bool").as<std::int8_t>());
  test::check_holds(checkpoint, contents);
}

TEST_CASE("a private checkpoint is changed in memory and not in its file") {
  const Scratch scratch;
  const std::vector<Content> contents{raw("w", DType::Int32, {2000}), raw("v", DType::Int32, {5})};
  write_checkpoint(scratch / "p", contents);
  for (const Verify verify : kVerifies) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(Access::Private, verify));
    const auto values = tensor_of(checkpoint, "w").as_mutable<std::int32_t>();
    REQUIRE_OK(values);
    std::ranges::fill(*values, 7);
    CHECK(std::ranges::all_of(*tensor_of(checkpoint, "w").as<std::int32_t>(),
                              [](std::int32_t value) { return value == 7; }));
    CHECK(tensor_of(checkpoint, "w").values<std::int32_t>()->at(1999) == 7);
    CHECK(bytes_of(tensor_of(checkpoint, "v")) == contents[1].bytes);
    test::check_holds(open_checkpoint(scratch / "p"), contents);
  }
}

TEST_CASE("only a private checkpoint gives views to write to") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("w", DType::Int32, {5})});
  for (const Access access : {Access::Shared, Access::Copy}) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(access));
    CHECK(refusal(tensor_of(checkpoint, "w").as_mutable<std::int32_t>(), {"Access::Private"}) ==
          Code::Invalid);
    CHECK(refusal(tensor_of(checkpoint, "w").mutable_bytes(), {"Access::Private"}) ==
          Code::Invalid);
  }
  const auto checkpoint = open_checkpoint(scratch / "p", access_by(Access::Private));
  CHECK(refusal(tensor_of(checkpoint, "w").as_mutable<float>(), {"int32"}) == Code::Invalid);
}

TEST_CASE("bytes of a dtype without a C++ type are written too") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("b", DType::Bool, {3}), raw("e", DType::Float8E5M2, {5})});
  const auto checkpoint = open_checkpoint(scratch / "p", access_by(Access::Private));
  for (const char* const name : {"b", "e"}) {
    const auto bytes = tensor_of(checkpoint, name).mutable_bytes();
    REQUIRE_OK(bytes);
    CHECK(bytes->size() == tensor_of(checkpoint, name).size_bytes());
    std::ranges::fill(*bytes, std::byte{1});
    CHECK(std::ranges::all_of(*tensor_of(checkpoint, name).bytes(),
                              [](std::byte byte) { return byte == std::byte{1}; }));
  }
}

TEST_CASE("each access with each check gives the same bytes") {
  const Scratch scratch;
  const std::vector<Content> contents{
      raw("big", DType::Uint8, {5'000'001}), raw("scalar", DType::Float64, {}),
      raw("empty", DType::Float32, {0, 3}),  raw("complex", DType::Complex128, {4}),
      text("words", {3}, {"a", "", "ccc"}),  text("none", {0}, {})};
  write_checkpoint(scratch / "p", contents);
  for (const Access access : kAccesses) {
    for (const Verify verify : kVerifies) {
      const auto checkpoint = open_checkpoint(scratch / "p", access_by(access, verify));
      test::check_holds(checkpoint, contents);
      for (const Content& content : contents) {
        if (content.spec.dtype == DType::String) continue;
        const auto bytes = tensor_of(checkpoint, content.spec.name).bytes();
        REQUIRE_OK(bytes);
        CHECK(std::ranges::equal(*bytes, content.bytes));
      }
    }
  }
}

TEST_CASE("handles and views outlive the files' names and all but one copy of the checkpoint") {
  Scratch scratch;
  const std::vector<Content> contents{raw("w", DType::Int32, {2000})};
  write_checkpoint(scratch / "p", contents);
  std::optional<Checkpoint> first = open_checkpoint(scratch / "p");
  const Checkpoint second = *first;
  const Tensor tensor = tensor_of(*first, "w");
  for (const std::string& name : scratch.names()) std::filesystem::remove(scratch / name);
  first.reset();
  REQUIRE_OK(tensor.as<std::int32_t>());
  test::check_holds(second, contents);
}

// ---- What it is

TEST_CASE("tensors are counted in bytewise order, and shards are told with their sizes") {
  const Scratch scratch;
  write_checkpoint(scratch / "a-12", {raw("b", DType::Int8, {3}), raw("a\xff", DType::Int8, {3}),
                                      raw("a", DType::Int8, {3}), raw("Z", DType::Int8, {3})});
  const auto checkpoint = open_checkpoint(scratch / "a-12");
  std::vector<std::string> names;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i)
    names.emplace_back(checkpoint.tensor_at(i).name());
  CHECK(names == std::vector<std::string>{"Z", "a", "a\xff", "b"});
  CHECK(checkpoint.step() == 12);
  CHECK(checkpoint.prefix() == scratch / "a-12");
  REQUIRE(checkpoint.shard_count() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto shard = checkpoint.shard_at(i);
    CHECK(shard.size_bytes == std::filesystem::file_size(scratch / shard.name));
  }
}

TEST_CASE("a missing tensor is NotFound, with the names that are nearest") {
  const Scratch scratch;
  write_checkpoint(scratch / "p",
                   {raw("encoder/weights", DType::Int8, {1}), raw("encoder/bias", DType::Int8, {1}),
                    raw("unrelated", DType::Int8, {1})});
  const auto checkpoint = open_checkpoint(scratch / "p");
  CHECK(refusal(checkpoint.tensor("encoder/weight"),
                {"\"encoder/weight\"", "similar names: \"encoder/weights\""}) == Code::NotFound);
  CHECK(refusal(checkpoint.tensor("xyz"), {"\"xyz\"; the checkpoint has 3 tensors"}) ==
        Code::NotFound);
  const std::string long_name(5000, 'q');
  const auto missing = checkpoint.tensor(long_name);
  CHECK(refusal(missing, {"the checkpoint has 3 tensors"}) == Code::NotFound);
}

TEST_CASE("whether a tensor is there is asked without an error") {
  const Scratch scratch;
  write_checkpoint(scratch / "p",
                   {raw("a", DType::Int8, {1}), raw(std::string("a\0b", 3), DType::Int8, {1})});
  const auto checkpoint = open_checkpoint(scratch / "p");
  CHECK(checkpoint.contains("a"));
  CHECK(checkpoint.contains(std::string_view("a\0b", 3)));
  for (const std::string_view missing : {"", "A", "aa", "b"}) {
    CAPTURE(missing);
    CHECK(!checkpoint.contains(missing));
  }
}

// The least of several, in milliseconds: who shares the machine does not count.
double milliseconds_to_miss(const Checkpoint& checkpoint, std::string_view name) {
  double least = 1e9;
  for (int i = 0; i < 10; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const bool found = checkpoint.tensor(name).has_value();
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    REQUIRE(!found);
    least = std::min(least, taken.count());
  }
  return least;
}

TEST_CASE("a name that is missing among 20,000 is answered at once, with the nearest") {
  const Scratch scratch;
  std::vector<Content> contents;
  for (int i = 0; i < 20'000; ++i) {
    const std::string layer = std::to_string(i);
    contents.push_back(raw("model.layers." + layer + ".mlp.experts." + std::to_string(i * 7 % 128) +
                               ".down_proj.weight.quantized_scale_inv",
                           DType::Int8, {}));
  }
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  const std::string right = "model.layers.77.mlp.experts.27.down_proj.weight.quantized_scale_inv";
  REQUIRE(checkpoint.contains(right));
  const auto names_right = [&](std::string_view missing) {
    CAPTURE(missing);
    CHECK(refusal(checkpoint.tensor(missing), {"similar names: \"" + right + "\""}) ==
          Code::NotFound);
    CHECK(milliseconds_to_miss(checkpoint, missing) <
          150);  // 1 where nothing is instrumented and the machine is idle
  };
  names_right("Model.layers.77.mlp.experts.27.down_proj.weight.quantized_scale_inv");
  names_right("model.layer.77.mlp.experts.27.down_proj.weight.quantized_scale_inv");
  names_right("model.layers.77.mlp.expert.27.down_porj.weight.quantized_scale_inv");
  names_right("model.layers.77.mlp.experts.27.down_proj.weight.quantized_scales_inv");
  names_right(right + "s");
  names_right("layers.77.mlp.experts.27.down_proj");
  CHECK(milliseconds_to_miss(checkpoint, "model.layers.7.mlp.experts.1.lora_A.weight") < 150);
  CHECK(milliseconds_to_miss(checkpoint, "e") < 150);
  CHECK(milliseconds_to_miss(checkpoint, std::string(5000, 'q')) < 150);
}

TEST_CASE("a checkpoint that is not what was expected is refused with the difference") {
  const Scratch scratch;
  const std::vector<Content> contents{raw("a", DType::Int32, {2, 3}), raw("b", DType::Int8, {})};
  write_checkpoint(scratch / "p", contents);
  const auto open_as = [&](std::vector<TensorSpec> expected) {
    OpenOptions options;
    options.expected = expected;
    return Checkpoint::open(scratch / "p", options);
  };
  CHECK(open_as(test::specs_of(contents)));
  CHECK(refusal(open_as({{"a", DType::Int32, {2, 3}}}), {"unexpected \"b\""}) == Code::Invalid);
  CHECK(refusal(
            open_as({{"a", DType::Int32, {2, 3}}, {"b", DType::Int8, {}}, {"c", DType::Int8, {}}}),
            {"missing \"c\""}) == Code::Invalid);
  CHECK(refusal(open_as({{"a", DType::Int32, {3, 2}}, {"b", DType::Uint8, {}}}),
                {"\"a\" is int32 [2, 3], expected int32 [3, 2]", "\"b\" is int8 []"}) ==
        Code::Invalid);
  std::vector<TensorSpec> many;
  for (int i = 0; i < 30; ++i) many.push_back({"m" + std::to_string(i), DType::Int8, {}});
  CHECK(refusal(open_as(many), {"and 22 more"}) == Code::Invalid);
}

TEST_CASE("prefetched tensors are resident") {
  const Scratch scratch;
  write_checkpoint(scratch / "p",
                   {raw("a", DType::Uint8, {9'000'000}), raw("b", DType::Uint8, {3})});
  for (const Access access : kAccesses) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(access));
    const std::string_view names[]{"a"};
    REQUIRE_OK(checkpoint.prefetch(names));
    const auto resident = checkpoint.resident_bytes();
    REQUIRE_OK(resident);
    CHECK(*resident >= 9'000'000);
    REQUIRE_OK(checkpoint.prefetch());
    CHECK(*checkpoint.resident_bytes() ==
          std::filesystem::file_size(scratch / "p.data-00000-of-00001"));
    const std::string_view missing[]{"a", "nobody"};
    CHECK(refusal(checkpoint.prefetch(missing), {"\"nobody\""}) == Code::NotFound);
  }
  const auto partitioned = open_checkpoint(golden("tensorflow/partitioned/part"));
  const std::string_view names[]{"cols"};
  REQUIRE_OK(partitioned.prefetch(names));
}

// ---- Slices

// Many random slices of these tensors at once, compared with a walk over each element.
void check_random_slices(const Checkpoint& checkpoint, std::span<const Content> contents,
                         std::mt19937_64& random) {
  std::vector<std::vector<Range>> slices;
  std::vector<std::vector<std::byte>> outs;
  std::vector<const Content*> of;
  for (int i = 0; i < 200; ++i) {
    of.push_back(&contents[random() % contents.size()]);
    slices.push_back(test::random_slice(random, of.back()->spec.shape));
    if (random() % 8 == 0) slices.back().clear();
    const Tensor tensor = tensor_of(checkpoint, of.back()->spec.name);
    const auto size_bytes = tensor.read_bytes(slices.back());
    REQUIRE_OK(size_bytes);
    outs.emplace_back(*size_bytes);
  }
  std::vector<Read> reads;
  for (std::size_t i = 0; i < of.size(); ++i)
    reads.push_back({of[i]->spec.name, slices[i], outs[i]});
  ExecOptions exec;
  exec.threads_max = 1 + static_cast<unsigned>(random() % 4);
  REQUIRE_OK(checkpoint.read(reads, exec));
  for (std::size_t i = 0; i < of.size(); ++i) {
    INFO(of[i]->spec.name);
    REQUIRE(outs[i] == test::naive_slice(of[i]->bytes, of[i]->spec.shape,
                                         element_bytes(of[i]->spec.dtype), slices[i]));
  }
}

TEST_CASE("random slices of random tensors agree with a walk over each element") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  const Scratch scratch;
  std::vector<Content> contents{raw("scalar", DType::Float64, {})};
  static constexpr DType kDtypes[]{DType::Uint8, DType::Float16, DType::Int32, DType::Complex128};
  for (int i = 0; i < 30; ++i) {
    contents.push_back(
        raw("t" + std::to_string(i), kDtypes[random() % 4], test::random_shape(random)));
  }
  write_checkpoint(scratch / "p", contents);
  for (const Access access : kAccesses)
    check_random_slices(open_checkpoint(scratch / "p", access_by(access)), contents, random);
}

TEST_CASE("a column agrees with a walk over each element, whatever the stride") {
  const Scratch scratch;
  std::vector<Content> contents;
  for (const std::int64_t width : {2, 1000, 5000, 70'000}) {
    contents.push_back(raw("t" + std::to_string(width), DType::Uint8, {1'000'000 / width, width}));
  }
  write_checkpoint(scratch / "p", contents);
  for (const Access access : kAccesses) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(access));
    for (const Content& content : contents) {
      const std::int64_t width = content.spec.shape[1];
      for (const Range columns : {Range{0, 1}, Range{width - 1, 1}, Range{1, width / 2}}) {
        const std::vector<Range> slice{{1, -1}, columns};
        CHECK(bytes_of(tensor_of(checkpoint, content.spec.name), slice) ==
              test::naive_slice(content.bytes, content.spec.shape, 1, slice));
      }
    }
  }
}

TEST_CASE("whole reads and slices of partitioned variables agree with TensorFlow's") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  const auto checkpoint = open_checkpoint(golden("tensorflow/partitioned/part"));
  const std::string shard =
      test::read_file(golden("tensorflow/partitioned/part.data-00000-of-00001"));
  const std::string index = test::read_file(golden("tensorflow/partitioned/part.index"));
  const auto bundle = format::tensorflow::decode_bundle(format::as_bytes(std::string_view(index)));
  REQUIRE(bundle);
  std::vector<Content> contents;
  for (const auto& facts : bundle->tensors) {
    Content content{{facts.name, facts.dtype, facts.shape}, {}, {}};
    content.bytes.resize(test::count_of(facts.shape) * 4);
    // Each stored slice, element by element, at the positions that it covers.
    for (const auto& stored : facts.slices) {
      std::vector<Range> ranges;
      for (const auto& extent : stored.extents) ranges.push_back({extent.start, extent.length});
      std::uint64_t from = stored.span.offset_bytes;
      for (std::size_t i = 0; i * 4 < content.bytes.size(); ++i) {
        if (!test::lies_in(i, facts.shape, ranges)) continue;
        std::memcpy(content.bytes.data() + i * 4, shard.data() + from, 4);
        from += 4;
      }
    }
    if (facts.slices.empty())
      std::memcpy(content.bytes.data(), shard.data() + facts.span.offset_bytes,
                  content.bytes.size());
    contents.push_back(std::move(content));
  }
  REQUIRE(tensor_of(checkpoint, "cols").partitioned());
  test::check_holds(checkpoint, contents);
  for (const Access access : kAccesses)
    check_random_slices(open_checkpoint(golden("tensorflow/partitioned/part"), access_by(access)),
                        contents, random);
  CHECK(refusal(tensor_of(checkpoint, "cols").bytes(), {"partitioned", "values()"}) ==
        Code::Unsupported);
  CHECK(refusal(tensor_of(checkpoint, "cols").as<float>(), {"values()"}) == Code::Unsupported);
  CHECK(tensor_of(checkpoint, "cols").values<float>()->size() == 40);
}

TEST_CASE("a read into memory of another size, or of a slice that does not fit, is refused") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("w", DType::Int32, {4, 6}), text("s", {2}, {"x", "y"})});
  const auto checkpoint = open_checkpoint(scratch / "p");
  const Tensor tensor = tensor_of(checkpoint, "w");
  std::vector<std::byte> out(200);
  const std::vector<Range> outside{{0, 5}, {0, 1}};
  const std::vector<Range> one_row{{1, 1}, {0, -1}};
  CHECK(refusal(tensor.read(out), {"\"w\" needs a buffer of 96 bytes, not 200"}) == Code::Invalid);
  CHECK(refusal(tensor.read(out, one_row), {"needs a buffer of 24 bytes"}) == Code::Invalid);
  CHECK(refusal(tensor.read(out, outside), {"dimension 0"}) == Code::Invalid);
  CHECK(refusal(tensor.values<std::int32_t>(outside), {"dimension 0"}) == Code::Invalid);
  const std::vector<Range> first{{0, 1}};
  CHECK(refusal(tensor_of(checkpoint, "s").read_bytes(first), {"strings()"}) == Code::Unsupported);
  const Read reads[]{{"w", one_row, std::span(out).first(24)}, {"nobody", {}, {}}};
  CHECK(refusal(checkpoint.read(reads), {"\"nobody\""}) == Code::NotFound);
}

// ---- Many threads

TEST_CASE("eight threads use the same lazily checked tensors") {
  const Scratch scratch;
  std::vector<Content> contents;
  for (int i = 0; i < 40; ++i)
    contents.push_back(raw("t" + std::to_string(i), DType::Int32, {10, 100}));
  contents.push_back(text("s", {2}, {"x", "y"}));
  write_checkpoint(scratch / "p", contents);
  for (const Access access : kAccesses) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(access));
    std::atomic<int> wrong = 0;
    std::vector<std::jthread> threads;
    for (unsigned t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 random(t);
        std::vector<std::byte> out(4000);
        for (int i = 0; i < 300; ++i) {
          const Content& content = contents[random() % 40];
          const auto tensor = checkpoint.tensor(content.spec.name);
          const bool as_view = random() % 2 == 0;
          const auto view = as_view ? tensor->bytes() : tensor->read(out).and_then([&] {
            return Result<std::span<const std::byte>>(out);
          });
          if (!view || !std::ranges::equal(*view, content.bytes)) ++wrong;
          if (checkpoint.tensor("s")->strings()->size() != 2) ++wrong;
        }
      });
    }
    threads.clear();
    CHECK(wrong == 0);
  }
}

// ---- TensorFlow's big-endian bundles

std::vector<std::byte> swapped(std::vector<std::byte> bytes, std::size_t width) {
  for (std::size_t at = 0; at < bytes.size(); at += width) {
    std::ranges::reverse(std::span(bytes).subspan(at, width));
  }
  return bytes;
}

TEST_CASE("a big-endian bundle is read for every numeric dtype, and not viewed") {
  struct Row {
    DType dtype;
    std::size_t width;
  };
  std::vector<Content> contents;
  std::string shard;
  std::vector<format::TensorFacts> tensors;
  for (const Row row : std::vector<Row>{{DType::Bool, 1},
                                        {DType::Int8, 1},
                                        {DType::Uint8, 1},
                                        {DType::Int16, 2},
                                        {DType::Uint16, 2},
                                        {DType::Float16, 2},
                                        {DType::Bfloat16, 2},
                                        {DType::Int32, 4},
                                        {DType::Uint32, 4},
                                        {DType::Float32, 4},
                                        {DType::Int64, 8},
                                        {DType::Uint64, 8},
                                        {DType::Float64, 8},
                                        {DType::Complex64, 4},
                                        {DType::Complex128, 8},
                                        {DType::Qint8, 1},
                                        {DType::Qint32, 4}}) {
    contents.push_back(raw(std::string(name(row.dtype)), row.dtype, {3, 5}));
    const auto stored = swapped(contents.back().bytes, row.width);
    format::TensorFacts facts;
    facts.name = contents.back().spec.name;
    facts.dtype = row.dtype;
    facts.shape = {3, 5};
    facts.span = {0, shard.size(), stored.size(), format::crc32c(stored)};
    shard += format::as_text(stored);
    tensors.push_back(std::move(facts));
  }
  std::ranges::sort(tensors, {}, &format::TensorFacts::name);
  format::BundleHeader header;
  header.big_endian = true;
  const auto index = format::tensorflow::encode_bundle(header, tensors);
  REQUIRE(index);
  const Scratch scratch;
  std::ofstream(scratch / "p.index", std::ios::binary) << *index;
  std::ofstream(scratch / "p.data-00000-of-00001", std::ios::binary) << shard;

  std::mt19937_64 random(1);
  for (const Access access : kAccesses) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(access));
    test::check_holds(checkpoint, contents);
    check_random_slices(checkpoint, contents, random);
    CHECK(refusal(tensor_of(checkpoint, "float32").as<float>(), {"big-endian", "values()"}) ==
          Code::Unsupported);
    CHECK(refusal(tensor_of(checkpoint, "int64").bytes(), {"big-endian"}) == Code::Unsupported);
    CHECK(tensor_of(checkpoint, "uint8").as<std::uint8_t>());
    CHECK(tensor_of(checkpoint, "float64").values<double>());
    CHECK(checkpoint.verify()->damage.empty());
  }
}

// ---- Strings

TEST_CASE("strings are views into the mapping, checked on first use") {
  const auto checkpoint = open_checkpoint(golden("tensorflow/strings/all"));
  const auto grid = tensor_of(checkpoint, "grid").strings();
  REQUIRE_OK(grid);
  REQUIRE(grid->size() == 4);
  CHECK((*grid)[0] == "r0c0");
  CHECK((*grid)[3].starts_with("yyyy"));
  const auto bytes = tensor_of(checkpoint, "grid").bytes();
  REQUIRE_OK(bytes);
  const auto stored = format::as_text(*bytes);
  for (const std::string_view value : *grid) {
    CHECK(value.data() >= stored.data());
    CHECK(value.data() + value.size() <= stored.data() + stored.size());
  }
}

}  // namespace
}  // namespace cairn
