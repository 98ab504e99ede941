// GGUF files: headers by a table, every type, parts of a split model, and files opened where they
// lie.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "cairn/dequantize.h"
#include "cairn/salvage.h"
#include "format/gguf/dequantize.h"
#include "format/gguf/header.h"
#include "format/gguf/types.h"
#include "format/le.h"
#include "format/limits.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using format::TensorFacts;
using format::gguf::Header;
using format::gguf::HeaderOptions;
using test::golden;
using test::has;
using test::read_file;
using test::refusal;
using test::Sandbox;
using test::write_file;

template <class T>
std::string le(T value) {
  std::string bytes;
  format::append_le(bytes, value);
  return bytes;
}

std::string text(std::string_view value) {
  return le(std::uint64_t{value.size()}) + std::string(value);
}

// A value with its type in front.
std::string u32(std::uint32_t value) { return le(4u) + le(value); }
std::string u16(std::uint16_t value) { return le(2u) + le(value); }
std::string string_value(std::string_view value) { return le(8u) + text(value); }
std::string array_of(std::uint32_t type, std::uint64_t count, const std::string& elements) {
  return le(9u) + le(type) + le(count) + elements;
}

// A file that is put together from its parts.
struct Gguf {
  struct Info {
    std::string name;
    std::vector<std::uint64_t> dims;  // the fastest first
    std::uint32_t type = 0;
    std::uint64_t offset = 0;
  };
  std::uint32_t version = 3;
  std::vector<std::pair<std::string, std::string>> keys = {};
  std::vector<Info> infos = {};
  std::string data = {};
  std::size_t alignment = 32;

  std::string header() const {
    std::string file =
        "GGUF" + le(version) + le(std::uint64_t{infos.size()}) + le(std::uint64_t{keys.size()});
    for (const auto& [key, value] : keys) file += text(key) + value;
    for (const Info& info : infos) {
      file += text(info.name) + le(static_cast<std::uint32_t>(info.dims.size()));
      for (const std::uint64_t dimension : info.dims) file += le(dimension);
      file += le(info.type) + le(info.offset);
    }
    return file;
  }
  std::string file() const {
    std::string file = header();
    file.resize((file.size() + alignment - 1) / alignment * alignment, '\0');
    return file + data;
  }
};

// One float32 tensor "w" of six elements.
Gguf plain() { return {.infos = {{"w", {3, 2}, 0, 0}}, .data = std::string(24, 'x')}; }

format::Decoded<std::optional<Header>> decode(std::string_view file, bool whole = true) {
  return format::gguf::decode_header(format::as_bytes(file), {file.size(), whole, {}});
}

const std::string* value_of(const Header& header, std::string_view key) {
  for (const auto& [each, value] : header.metadata) {
    if (each == key) return &value;
  }
  return nullptr;
}

// ---- Headers ------------------------------------------------------------------------------------

TEST_CASE("every type of ggml is the dtype that it is, or opaque in blocks under its own name") {
  std::size_t known = 0;
  for (std::uint32_t number = 0; number < 64; ++number) {
    const auto* const type = format::gguf::type_of(number);
    if (type == nullptr) continue;
    ++known;
    INFO(type->name);
    CHECK(format::gguf::type_named(type->name) == type);
    Gguf made{.infos = {{"t", {2 * std::uint64_t{type->elements()}, 3}, number, 0}},
              .data = std::string(6 * std::size_t{type->bytes()}, 'x')};
    const auto header = decode(made.file());
    REQUIRE_MESSAGE(header, header.error().what);
    REQUIRE((*header)->tensors.size() == 1);
    const TensorFacts& tensor = (*header)->tensors.front();
    CHECK(tensor.shape == std::vector<std::int64_t>{3, 2 * std::int64_t{type->elements()}});
    CHECK(tensor.span.size_bytes == made.data.size());
    CHECK(tensor.dtype == type->dtype);
    CHECK(tensor.opaque_dtype == (type->dtype == DType::Opaque ? type->name : ""));
    CHECK(tensor.opaque_block == type->block);
    made.data.pop_back();
    CHECK_FALSE(decode(made.file()));
    if (type->elements() == 1) continue;
    made.infos.front().dims.front() += 1;
    CHECK(has(decode(made.file()).error().what, "no whole number of blocks"));
  }
  CHECK(known == 35);
  for (const std::uint32_t removed : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u})
    CHECK(format::gguf::type_of(removed) == nullptr);
}

TEST_CASE("metadata of every kind is text: strings as they are, the rest as JSON") {
  struct Row {
    std::string value;
    const char* text;
  };
  const Row rows[] = {
      {le(0u) + "\xff", "255"},
      {le(1u) + "\xff", "-1"},
      {u16(65535), "65535"},
      {le(3u) + le(std::int16_t{-2}), "-2"},
      {u32(4294967295), "4294967295"},
      {le(5u) + le(std::int32_t{-7}), "-7"},
      {le(10u) + le(std::uint64_t{18446744073709551615u}), "18446744073709551615"},
      {le(11u) + le(std::int64_t{-5}), "-5"},
      {le(6u) + le(0x3eaaaaabu), "0.33333334"},
      {le(6u) + le(0x3f800000u), "1.0"},
      {le(6u) + le(0x7fc00000u), "NaN"},
      {le(6u) + le(0xff800000u), "-Infinity"},
      {le(12u) + le(std::uint64_t{0x3fd5555555555555}), "0.3333333333333333"},
      {le(7u) + std::string(1, '\0'), "false"},
      {le(7u) + "\1", "true"},
      {string_value("a \"b\"\xff"), "a \"b\"\xff"},
      {array_of(8, 2, text("a\"") + text("\xc3\xbc\n")), "[\"a\\\"\",\"\xc3\xbc\\u000a\"]"},
      {array_of(8, 1, text("\"\xff")), "[\"\\\"\\udcff\"]"},
      {array_of(5, 3, le(1u) + le(2u) + le(3u)), "[1,2,3]"},
      {array_of(7, 2, std::string("\0\1", 2)), "[false,true]"},
      {array_of(6, 0, ""), "[]"},
      {array_of(9, 2, le(4u) + le(std::uint64_t{1}) + le(9u) + le(0u) + le(std::uint64_t{0})),
       "[[9],[]]"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    Gguf made = plain();
    made.keys = {{"key", row.value}};
    const auto header = decode(made.file());
    REQUIRE_MESSAGE(header, header.error().what);
    REQUIRE(value_of(**header, "key") != nullptr);
    CHECK(*value_of(**header, "key") == row.text);
  }
}

TEST_CASE("tensors lie at the alignment that the file says") {
  for (const std::uint32_t alignment : {1u, 8u, 32u, 64u, 4096u}) {
    Gguf made = plain();
    made.alignment = alignment;
    if (alignment != 32) made.keys = {{"general.alignment", u32(alignment)}};
    const auto header = decode(made.file());
    REQUIRE(header);
    CHECK((*header)->tensors.front().span.offset_bytes == made.file().size() - 24);
  }
  // Two names of one place, a place that no alignment asks for, and bytes behind all.
  Gguf odd{.infos = {{"b", {2}, 0, 3}, {"a", {2}, 0, 3}}, .data = std::string(20, 'x')};
  const auto header = decode(odd.file());
  REQUIRE(header);
  CHECK((*header)->tensors[0].name == "a");
  CHECK((*header)->tensors[0].span == (*header)->tensors[1].span);
  CHECK((*header)->tensors[0].span.offset_bytes % 32 == 3);
  // No dimension is one element, one of size 0 none.
  const Gguf ranks{.infos = {{"none", {4, 0}, 0, 1u << 30}, {"one", {}, 0, 0}},
                   .data = std::string(4, 'x')};
  REQUIRE_MESSAGE(decode(ranks.file()), decode(ranks.file()).error().what);
  CHECK((*decode(ranks.file()))->tensors[0].span.size_bytes == 0);
  CHECK((*decode(ranks.file()))->tensors[1].span.size_bytes == 4);
  // A vocabulary alone: the header is not rounded up.
  CHECK(decode(Gguf{.keys = {{"k", u32(1)}}}.header()));
}

TEST_CASE("what cannot be read is left out and named, and the rest is there") {
  Gguf made{.keys = {{"cairn.pinned", string_value("1")}, {"k", u32(1)}},
            .infos = {{"new", {2, 3}, 185, 0}, {"old", {2}, 4, 0}, {"w", {1}, 0, 0}},
            .data = std::string(4, 'x')};
  const auto header = decode(made.file());
  REQUIRE(header);
  CHECK((*header)->tensors.size() == 1);
  CHECK((*header)->tensor_count == 3);
  REQUIRE((*header)->left_out.size() == 3);
  CHECK(has((*header)->left_out[0], "\"cairn.pinned\""));
  CHECK(has((*header)->left_out[1], "tensor \"new\", [3,2], is left out: its type, 185"));
  CHECK(has((*header)->left_out[2], "its type, 4"));
  CHECK(value_of(**header, "k") != nullptr);
}

TEST_CASE("what is malformed, or too much, is refused in a sentence") {
  const auto with_key = [](std::string key, std::string value) {
    Gguf made = plain();
    made.keys = {{std::move(key), std::move(value)}};
    return made.file();
  };
  const auto of = [](Gguf::Info info) { return Gguf{.infos = {std::move(info)}}.file(); };
  std::string deep = le(9u);
  for (int i = 0; i < 20; ++i) deep += le(9u) + le(std::uint64_t{1});
  const std::string padding(4096, '\0');
  struct Row {
    std::string file;
    Code code;
    const char* said;
  };
  const Row rows[] = {
      {"GGUX and more bytes", Code::Corrupt, "no GGUF file"},
      {"GGUF", Code::Corrupt, "ends in its header"},
      {Gguf{.version = 0}.file(), Code::Unsupported, "version 0"},
      {Gguf{.version = 1}.file(), Code::Unsupported, "version 1"},
      {Gguf{.version = 4}.file(), Code::Unsupported, "version 4"},
      {Gguf{.version = 0x02000000}.file(), Code::Unsupported, "version 2, big-endian"},
      {"GGUF" + le(3u) + le(~std::uint64_t{0}) + le(std::uint64_t{0}), Code::Unsupported, "limits"},
      {"GGUF" + le(3u) + le(std::uint64_t{0}) + le(~std::uint64_t{0}), Code::Unsupported, "limits"},
      {"GGUF" + le(3u) + le(std::uint64_t{9}) + le(std::uint64_t{0}), Code::Corrupt, "ends in"},
      {"GGUF" + le(3u) + le(std::uint64_t{0}) + le(std::uint64_t{1}) + le(~std::uint64_t{0}) +
           padding,
       Code::Corrupt, "ends in its header"},
      {with_key("k", le(13u) + "12345678"), Code::Corrupt, "type 13"},
      {with_key("k", le(7u) + "\2"), Code::Corrupt, "truth value of 2"},
      {with_key("k", array_of(13, 0, "")), Code::Corrupt, "array of type 13"},
      {with_key("k", array_of(0, ~std::uint64_t{0}, "")), Code::Corrupt, "ends in its header"},
      {with_key("k", deep + padding), Code::Unsupported, "deeper than the limit of 16"},
      {with_key("general.alignment", u32(24)), Code::Corrupt, "power of two"},
      {with_key("general.alignment", u32(0)), Code::Corrupt, "power of two"},
      {with_key("general.alignment", le(10u) + le(std::uint64_t{32})), Code::Corrupt, "UINT32"},
      {Gguf{.keys = {{"k", u32(1)}, {"k", u32(2)}}}.file(), Code::Corrupt, "\"k\" twice"},
      {Gguf{.infos = {{"w", {0}, 0, 0}, {"w", {0}, 0, 0}}}.file(), Code::Corrupt, "called \"w\""},
      {of({"w", {7}, 0, 0}), Code::Corrupt, "truncated"},
      {of({"w", {1}, 0, ~std::uint64_t{0}}), Code::Corrupt, "truncated"},
      {of({"w", {48}, 2, 0}), Code::Corrupt, "no whole number of blocks of 32"},
      {of({"w", {}, 2, 0}), Code::Corrupt, "no whole number of blocks"},
      {of({"w", {std::uint64_t{1} << 63}, 0, 0}), Code::Corrupt, "a dimension of"},
      {of({"w", {std::uint64_t{1} << 62, 4}, 0, 0}), Code::Corrupt, "too large"},
      {of({"w", {std::uint64_t{1} << 62}, 0, 0}), Code::Corrupt, "truncated"},
      {of({"w", std::vector<std::uint64_t>(255, 1), 0, 0}), Code::Corrupt, "255 dimensions"},
      {of({std::string(format::limits::kNameBytesMax + 1, 'n'), {0}, 0, 0}), Code::Corrupt,
       "a name of"},
  };
  for (const Row& row : rows) {
    INFO(row.said);
    const auto header = decode(row.file);
    REQUIRE_FALSE(header);
    CHECK(header.error().code == row.code);
    CHECK_MESSAGE(has(header.error().what, row.said), header.error().what);
  }
  CHECK(decode(of({std::string(format::limits::kNameBytesMax, 'n'), {0}, 0, 0})));
  CHECK(decode(of({"w", std::vector<std::uint64_t>(254, 0), 0, 0})));
}

TEST_CASE("metadata beyond the limit is left out, and what follows is read") {
  // A byte of an array of truth values becomes six.
  const std::uint64_t count = format::limits::kGgufMetadataBytesMax / 6;
  const std::string falses(count, '\0');
  const Gguf made{.keys = {{"a", array_of(7, count - 1, falses.substr(1))},
                           {"b", array_of(7, count, falses)},
                           {"c", u32(7)}}};
  const auto header = decode(made.file());
  REQUIRE(header);
  CHECK(value_of(**header, "a") != nullptr);
  CHECK(value_of(**header, "b") == nullptr);
  CHECK(has((*header)->left_out.at(0), "metadata \"b\" is left out"));
  REQUIRE(value_of(**header, "c") != nullptr);
  CHECK(*value_of(**header, "c") == "7");
}

TEST_CASE("a header that goes on behind what was read asks for more") {
  Gguf made = plain();
  made.keys = {{"a", string_value("b")}, {"l", array_of(8, 2, text("x") + text("yz"))}};
  const std::string file = made.file();
  const std::size_t header_size = made.header().size();
  for (std::size_t size = 0; size < file.size(); ++size) {
    INFO(size);
    const auto header =
        format::gguf::decode_header(format::as_bytes(file).first(size), {file.size(), true, {}});
    if (size < 4) continue;  // by the magic alone
    REQUIRE_MESSAGE(header, header.error().what);
    CHECK(header->has_value() == (size >= header_size));
  }
}

TEST_CASE("cut files are refused; flipped ones are refused, or lie inside the file") {
  Gguf made{.keys = {{"general.alignment", u32(32)}, {"l", array_of(8, 1, text("x"))}},
            .infos = {{"a", {3}, 0, 0}, {"q", {32}, 2, 32}},
            .data = std::string(50, 'x')};
  const std::string whole = made.file();
  REQUIRE(decode(whole));
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(decode(whole.substr(0, size)));
  std::size_t refused = 0;
  std::size_t same = 0;
  std::size_t other = 0;  // the format has no sums
  const auto before = *decode(whole);
  for (std::size_t bit = 0; bit < 8 * made.header().size(); ++bit) {
    std::string file = whole;
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
    const auto header = decode(file);
    if (!header) {
      ++refused;
      continue;
    }
    REQUIRE(*header);
    for (const TensorFacts& tensor : (*header)->tensors)
      CHECK(tensor.span.offset_bytes + tensor.span.size_bytes <= file.size());
    const bool equal =
        (*header)->tensors == before->tensors && (*header)->metadata == before->metadata;
    ++(equal ? same : other);
  }
  MESSAGE("flips: ", refused, " refused, ", same, " the same, ", other, " other values");
  CHECK(refused > 500);
}

// ---- Files --------------------------------------------------------------------------------------

TEST_CASE("what gguf-py wrote opens where it lies, in every access mode") {
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    const auto checkpoint = Checkpoint::open(golden("gguf/types.gguf"), {.access = access});
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->format() == Format::Gguf);
    CHECK(name(checkpoint->format()) == "gguf");
    CHECK(checkpoint->prefix() == golden("gguf/types"));
    CHECK(checkpoint->warnings().empty());
    CHECK(checkpoint->tensor_count() == 33);
    CHECK(checkpoint->tensor("F64")->as<double>().has_value());
    CHECK(checkpoint->tensor("I16")->values<std::int16_t>()->size() == 6);
    const auto spec = checkpoint->tensor("Q4_K")->spec();
    REQUIRE(spec);
    CHECK(spec->opaque == OpaqueDType{"Q4_K", 0, 256, 144});
    CHECK(checkpoint->tensor("Q4_K")->bytes()->size() == 288);
    CHECK(checkpoint->verify()->damage.empty());
  }
}

// As gguf-py: the same bits, but that NaNs may be others.
bool same_values(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(a, b, [](float x, float y) {
    return std::isnan(x) ? std::isnan(y) : std::memcmp(&x, &y, sizeof x) == 0;
  });
}

TEST_CASE("quantized tensors have the values that gguf-py computes") {
  const auto checkpoint = Checkpoint::open(golden("gguf/types.gguf"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  const std::string bytes = read_file(golden("gguf/types.float32"));
  std::vector<float> expected(bytes.size() / sizeof(float));
  std::memcpy(expected.data(), bytes.data(), bytes.size());
  std::span<const float> left(expected);
  std::size_t known = 0;
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const Tensor tensor = checkpoint->tensor_at(i);
    INFO(tensor.name());
    if (!can_dequantize(tensor)) {
      CHECK(has(refusal(dequantize(tensor)), "Unsupported: "));
      continue;
    }
    ++known;
    const auto values = dequantize(tensor);
    REQUIRE_MESSAGE(values, refusal(values));
    CHECK(same_values(*values, left.first(values->size())));
    left = left.subspan(values->size());
    const std::int64_t columns = tensor.shape()[1];
    const Range part[] = {{1, 1}, {3, columns - 5}};
    const auto slice = dequantize(tensor, part);
    REQUIRE_MESSAGE(slice, refusal(slice));
    CHECK(same_values(*slice, std::span(*values).subspan(static_cast<std::size_t>(columns) + 3,
                                                         static_cast<std::size_t>(columns) - 5)));
    const Range beyond[] = {{0, 3}, {0, 1}};
    CHECK(has(refusal(dequantize(tensor, beyond)), "Invalid: "));
  }
  CHECK(known == 12);
  CHECK(left.empty());
}

TEST_CASE("every float16 scale is the float32 that it is") {
  const auto q8 = format::gguf::dequantizer_of("Q8_0", {32, 34});
  REQUIRE((q8 != nullptr));
  CHECK((format::gguf::dequantizer_of("Q8_0", {32, 36}) == nullptr));
  CHECK((format::gguf::dequantizer_of("Q8_1", {32, 36}) == nullptr));
  std::array<float, format::gguf::kBlockElementsMax> out;
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const std::string block = le(static_cast<std::uint16_t>(half)) + std::string(32, '\1');
    q8(format::as_bytes(block).data(), out.data());
    const int exponent = static_cast<int>(half >> 10 & 31);
    const auto fraction = static_cast<float>(half & 1023);
    float expected =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) expected = fraction == 0 ? INFINITY : NAN;
    if ((half & 0x8000) != 0) expected = -expected;
    CHECK(same_values({&expected, 1}, {out.data(), 1}));
  }
}

TEST_CASE("a big-endian file has what is certain") {
  const auto checkpoint = Checkpoint::open(golden("gguf/big_endian.gguf"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->tensor_count() == 3);
  CHECK(*checkpoint->tensor("f4")->values<float>() == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(*checkpoint->tensor("i1")->values<std::int8_t>() ==
        std::vector<std::int8_t>{0, 1, 2, 3, 4});
  CHECK(*checkpoint->tensor("i8")->values<std::int64_t>() == std::vector<std::int64_t>{0, 1, 2, 3});
  REQUIRE(checkpoint->warnings().size() == 1);
  CHECK(
      has(checkpoint->warnings()[0], "tensor \"q\", [1,32], is left out: some writers store Q8_0"));
  CHECK(*checkpoint->metadata("test.number") == "258");
}

TEST_CASE("the parts of a split model are one checkpoint, by whichever of them it is opened") {
  Sandbox box;
  const auto part = [&](int number) {
    return "model-0000" + std::to_string(number) + "-of-00003.gguf";
  };
  const auto copy = [&](int number) {
    write_file(box / part(number), read_file(golden("gguf/" + part(number))));
  };
  for (const int number : {1, 2, 3}) copy(number);
  for (const int number : {1, 2, 3}) {
    const auto checkpoint = Checkpoint::open(box / part(number));
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->tensor_count() == 6);
    CHECK(checkpoint->shard_count() == 3);
    CHECK(*checkpoint->metadata("general.alignment") == "64");
    for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
      const Tensor tensor = checkpoint->tensor_at(i);
      CHECK(tensor.offset_bytes() % 64 == 0);
      const auto values = tensor.values<float>();
      REQUIRE_MESSAGE(values, refusal(values));
      CHECK(std::ranges::all_of(*values, [](float value) { return value >= 1 && value < 100; }));
      CHECK(tensor.shard() == part(static_cast<int>(i) / 2 + 1));
    }
  }
  REQUIRE(convert(box / part(1), Format::Cairn, {.output = box / "whole"}));
  CHECK((*Checkpoint::open(box / "whole")).tensor_count() == 6);
  CHECK(has(refusal(copy_checkpoint(box / part(1), {.output = box / "sub/m"})), "one of 3 files"));
  CHECK(has(refusal(remove_checkpoint(box / part(2))), "one of 3 files"));

  std::filesystem::remove(box / part(2));
  const std::string missing = refusal(Checkpoint::open(box / part(1)));
  CHECK(missing.starts_with("NotFound: "));
  CHECK_MESSAGE(has(missing, part(2) + ": "), missing);
  CHECK(has(missing, "part 2 of 3"));
  write_file(box / part(2), read_file(box / part(1)));
  CHECK(has(refusal(Checkpoint::open(box / part(1))), "says that it is part 1 of 3"));
  write_file(box / part(2), read_file(golden("gguf/types.gguf")));
  CHECK(has(refusal(Checkpoint::open(box / part(1))), "says that it is no part of a split model"));
  write_file(box / "renamed.gguf", read_file(box / part(1)));
  CHECK(has(refusal(Checkpoint::open(box / "renamed.gguf")), "-00001-of-00003.gguf"));
}

TEST_CASE("parts that do not fit each other are refused") {
  Sandbox box;
  const auto part = [&](std::uint16_t number, std::uint32_t tensors, const char* name) {
    Gguf made = plain();
    made.infos.front().name = name;
    made.keys = {{"split.no", u16(number)},
                 {"split.count", u16(2)},
                 {"split.tensors.count", le(5u) + le(tensors)}};
    write_file(box / ("m-0000" + std::to_string(number + 1) + "-of-00002.gguf"), made.file());
  };
  const auto opened = [&] { return refusal(Checkpoint::open(box / "m-00001-of-00002.gguf")); };
  part(0, 2, "a");
  part(1, 2, "b");
  CHECK(Checkpoint::open(box / "m-00002-of-00002.gguf").has_value());
  part(1, 2, "a");
  CHECK(has(opened(), "two parts have a tensor called \"a\""));
  part(0, 3, "c");
  CHECK(has(opened(), "have 3 tensors, but they have 2"));
}

TEST_CASE("a GGUF file is converted, copied, moved and salvaged as other files are") {
  Sandbox box;
  write_file(box / "m.gguf", read_file(golden("gguf/types.gguf")));
  REQUIRE(convert(box / "m.gguf", Format::Cairn, {.output = box / "c"}));
  const auto converted = Checkpoint::open(box / "c");
  REQUIRE(converted);
  const auto source = Checkpoint::open(box / "m.gguf");
  CHECK(same_values(*dequantize(*converted->tensor("Q4_K")), *dequantize(*source->tensor("Q4_K"))));
  CHECK(*converted->metadata("test.words") == "[\"a\",\"\xc3\xbc\",\"quote\\\"\"]");
  CHECK(has(refusal(convert(box / "c", Format::Gguf, {.output = box / "d"})), "Unsupported: "));
  const auto copied = copy_checkpoint(box / "m.gguf", {.output = box / "sub/v"});
  REQUIRE_MESSAGE(copied, refusal(copied));
  CHECK(copied->prefix == box / "sub/v.gguf");
  REQUIRE(move_checkpoint(box / "sub/v.gguf", {.output = box / "sub/u"}));
  CHECK((*Checkpoint::open(box / "sub/u.gguf")).tensor_count() == 33);
  REQUIRE(remove_checkpoint(box / "sub/u.gguf"));

  Gguf more = plain();
  more.infos.push_back({"new", {2}, 185, 0});
  write_file(box / "more.gguf", more.file());
  CHECK((*Checkpoint::open(box / "more.gguf")).warnings().size() == 1);
  const std::string lossy =
      refusal(convert(box / "more.gguf", Format::Cairn, {.output = box / "e"}));
  CHECK_MESSAGE(has(lossy, "tensor \"new\", [2], is left out"), lossy);
  CHECK(convert(box / "more.gguf", Format::Cairn, {.output = box / "e", .allow_lossy = true}));

  const std::string whole = read_file(box / "m.gguf");
  write_file(box / "cut.gguf", std::string_view(whole).substr(0, whole.size() - 100));
  CHECK(has(refusal(Checkpoint::open(box / "cut.gguf")), "truncated"));
  const auto salvaged = salvage(box / "cut.gguf", {.output = box / "saved"});
  REQUIRE_MESSAGE(salvaged, refusal(salvaged));
  CHECK((*Checkpoint::open(box / "saved")).tensor_count() >= 30);
}

}  // namespace
}  // namespace cairn
