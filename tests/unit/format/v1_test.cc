#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/tensorflow/v1.h"
#include "format/tensorflow/v1_values.h"
#include "tests/unit/format/v1_samples.h"
#include "tests/unit/golden.h"

namespace cairn::format::tensorflow {
namespace {

using test::field;
using test::v1_file;
using test::v1_tensor;
using test::V1Records;
using test::V1Sample;
using test::varints;

// ---- Arranging

struct DecodedSlice {
  std::string name;
  std::size_t slice;
  std::string bytes;
  std::uint32_t crc32c;
};

Decoded<std::vector<DecodedSlice>> decode(std::string_view file) {
  auto reader = V1Reader::open(TableFile(as_bytes(file)));
  if (!reader) return reader.error();
  std::vector<DecodedSlice> slices;
  while (true) {
    const auto more = reader->next();
    if (!more) return more.error();
    if (!*more) return slices;
    slices.push_back({reader->tensors()[reader->tensor()].name, reader->slice(), {}, 0});
    while (true) {
      const auto block = reader->next_block();
      if (!block) return block.error();
      if (block->empty()) break;
      slices.back().bytes += as_text(*block);
    }
    slices.back().crc32c = reader->crc32c();
  }
}

Decoded<std::vector<DecodedSlice>> decode_one(DType dtype, std::int64_t count,
                                              const std::string& values) {
  return decode(v1_file({v1_tensor("t", dtype, {count}, values)}));
}

// The bytes of the only slice.
std::string bytes_of(const Decoded<std::vector<DecodedSlice>>& slices) {
  REQUIRE_MESSAGE(slices.has_value(), slices.error().what);
  REQUIRE(slices->size() == 1);
  return slices->front().bytes;
}

std::string refused(const Decoded<std::vector<DecodedSlice>>& slices) {
  REQUIRE_FALSE(slices.has_value());
  return std::string(name(slices.error().code)) + ": " + slices.error().what;
}

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

template <class T>
std::string raw(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// One tensor of every dtype that V1 files hold, and the bytes that it must become.
struct DtypeCase {
  DType dtype;
  std::string packed;    // a TensorProto
  std::string unpacked;  // the same, each value in a field of its own
  std::string bytes;
};

std::string fixed(std::uint32_t number, std::uint32_t wire_type, const std::string& bytes) {
  const std::size_t width = wire_type == 5 ? 4 : 8;
  std::string message;
  for (std::size_t at = 0; at < bytes.size(); at += width) {
    append_varint(message, number << 3 | wire_type);
    message += bytes.substr(at, width);
  }
  return message;
}

template <class T>
DtypeCase integers(DType dtype, std::uint32_t number, std::vector<std::int64_t> values) {
  DtypeCase result{dtype, field(number, varints(values)), {}, {}};
  std::vector<T> narrow;
  for (const std::int64_t value : values) {
    result.unpacked += field(number, value);
    narrow.push_back(static_cast<T>(value));
  }
  result.bytes = raw(narrow);
  return result;
}

DtypeCase floats(DType dtype, std::uint32_t number, std::uint32_t wire_type, std::string bytes) {
  return {dtype, field(number, bytes), fixed(number, wire_type, bytes), bytes};
}

// Three elements each.
std::vector<DtypeCase> every_dtype() {
  const std::string singles = raw<float>({1.5f, -0.0f, 3e38f, -1, 2, 0.25f});
  const std::string doubles = raw<double>({1.5, -0.0, 1e300, -1, 2, 0.25});
  std::vector<DtypeCase> cases{
      floats(DType::Float32, 5, 5, singles.substr(0, 12)),
      floats(DType::Float64, 6, 1, doubles.substr(0, 24)),
      floats(DType::Complex64, 9, 5, singles),
      floats(DType::Complex128, 12, 1, doubles),
      integers<std::int32_t>(DType::Int32, 7, {-2'147'483'648, 2'147'483'647, -1}),
      integers<std::int16_t>(DType::Int16, 7, {-32'768, 32'767, -1}),
      integers<std::int8_t>(DType::Int8, 7, {-128, 127, -1}),
      integers<std::uint8_t>(DType::Uint8, 7, {0, 255, 128}),
      integers<std::uint16_t>(DType::Uint16, 7, {0, 65'535, 40'000}),
      integers<std::int8_t>(DType::Qint8, 7, {-128, 127, 1}),
      integers<std::uint8_t>(DType::Quint8, 7, {0, 255, 1}),
      integers<std::int32_t>(DType::Qint32, 7, {-2'147'483'648, 2'147'483'647, 0}),
      integers<std::int64_t>(DType::Int64, 10, {INT64_MIN, INT64_MAX, -1}),
      integers<std::uint8_t>(DType::Bool, 11, {0, 1, 1}),
      integers<std::uint16_t>(DType::Float16, 13, {15'360, 0x8000, 0x7c00}),
  };
  const std::string texts = field(8, "ab") + field(8, "") + field(8, "xyz");
  cases.push_back({DType::String, texts, texts, test::from_hex("020003 1b428bca 61627879 7a")});
  return cases;
}

// ---- Values

TEST_CASE("each dtype is decoded from packed and from single values") {
  for (const DtypeCase& one : every_dtype()) {
    INFO(std::string(name(one.dtype)));
    CHECK(bytes_of(decode_one(one.dtype, 3, one.packed)) == one.bytes);
    CHECK(bytes_of(decode_one(one.dtype, 3, one.unpacked)) == one.bytes);
  }
}

TEST_CASE("the checksum is what a bundle would store") {
  for (const DtypeCase& one : every_dtype()) {
    const auto slices = decode_one(one.dtype, 3, one.packed);
    REQUIRE(slices.has_value());
    std::uint32_t expected = crc32c(as_bytes(one.bytes));
    if (one.dtype == DType::String)
      expected = decode_strings(as_bytes(one.bytes), 3, false)->crc32c;
    CHECK(slices->front().crc32c == expected);
  }
}

TEST_CASE("a tensor of no elements has no bytes, and strings their checksum of nothing") {
  for (const DtypeCase& one : every_dtype()) {
    INFO(std::string(name(one.dtype)));
    const std::string expected =
        one.dtype == DType::String ? test::from_hex("d8ea82a2") : std::string();
    CHECK(bytes_of(decode_one(one.dtype, 0, "")) == expected);
  }
}

TEST_CASE("values that come in many blocks and pieces are put together") {
  const unsigned seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  std::vector<std::int64_t> numbers(100'000);
  for (std::int64_t& number : numbers) number = static_cast<std::int64_t>(random());
  std::string values;
  for (std::size_t at = 0; at < numbers.size();) {
    const std::size_t count = std::min<std::size_t>(random() % 30'000, numbers.size() - at);
    const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(at);
    values += field(10, varints({begin, begin + static_cast<std::ptrdiff_t>(count)}));
    at += count;
  }
  CHECK(bytes_of(decode_one(DType::Int64, 100'000, values)) == raw(numbers));

  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) texts.emplace_back(random() % 2'000, 'x');
  texts.emplace_back(300'000, 'l');
  texts.emplace_back("end");
  std::string strings;
  std::string joined;
  for (const std::string& text : texts) {
    strings += field(8, text);
    joined += text;
  }
  const std::string bytes =
      bytes_of(decode_one(DType::String, static_cast<std::int64_t>(texts.size()), strings));
  const auto layout = decode_strings(as_bytes(bytes), texts.size(), false);
  REQUIRE(layout.has_value());
  CHECK(bytes.substr(layout->payload_offset) == joined);
}

TEST_CASE("one element too few and one too many are refused, for each dtype") {
  for (const DtypeCase& one : every_dtype()) {
    INFO(std::string(name(one.dtype)));
    for (const std::string& values : {one.packed, one.unpacked}) {
      CHECK(has(refused(decode_one(one.dtype, 4, values)),
                "Corrupt: tensor \"t\" has only 3 of its 4"));
      CHECK(has(refused(decode_one(one.dtype, 2, values)), "has more values than its 2 elements"));
    }
  }
}

TEST_CASE("a shape of more elements than any memory has is refused without asking for it") {
  for (const DtypeCase& one : every_dtype()) {
    INFO(std::string(name(one.dtype)));
    CHECK(has(refused(decode_one(one.dtype, std::int64_t{1} << 58, one.packed)),
              "has only 3 of its"));
  }
  CHECK(has(refused(decode_one(DType::Float64, INT64_MAX, "")), "too many elements"));
}

TEST_CASE("values that no V1 file holds are refused in a sentence") {
  const auto float_list = field(5, raw<float>({1}));
  const struct {
    DType dtype;
    std::string values;
    std::string said;
  } cases[] = {
      {DType::Int8, field(7, varints({128})), "the number 128, which is not a value of int8"},
      {DType::Uint8, field(7, varints({-1})), "the number -1, which is not a value of uint8"},
      {DType::Quint8, field(7, varints({256})), "which is not a value of quint8"},
      {DType::Uint16, field(7, varints({65'536})), "which is not a value of uint16"},
      {DType::Int32, field(7, varints({std::int64_t{1} << 32})), "which is not a value of int32"},
      {DType::Float16, field(13, varints({65'536})), "which is not a value of float16"},
      {DType::Float32, float_list + field(4, "abcd"), "tensor_content"},
      {DType::Float32, field(4, "abcd"), "tensor_content"},
      {DType::Float32, field(5, "abc"), "a number is cut off"},
      {DType::Int32, field(7, "\xff"), "a number is cut off"},
      {DType::Int32, float_list, "has only 0 of its 1 element"},
      {DType::Float32, field(5, 1), "another wire type"},
      {DType::Float32, "\x2a\x04", "a field is cut off"},
      {DType::Float32, "\x2b", "a field is cut off"},
  };
  for (const auto& one : cases) {
    INFO(one.said);
    CHECK(has(refused(decode_one(one.dtype, 1, one.values)), one.said));
  }
  const auto of_no_field = V1Values(DType::Variant, 1, float_list).next_block();
  REQUIRE_FALSE(of_no_field.has_value());
  CHECK(of_no_field.error().code == Code::Unsupported);
  CHECK(bytes_of(decode_one(DType::Int32, 1, field(7, varints({0xffffffff})))) ==
        raw<std::int32_t>({-1}));
}

// ---- Records

const V1Sample kMatrix = v1_tensor("m", DType::Int32, {2, 2}, field(7, varints({1, 2, 3, 4})));
const V1Sample kScalar = v1_tensor("s", DType::Float32, {}, field(5, raw<float>({7})));
const V1Sample kParts{"p",
                      DType::Uint8,
                      {3, 2},
                      {{{{2, 1}, {0, 2}}, field(7, varints({5, 6}))},
                       {{{0, 2}, {0, 2}}, field(7, varints({1, 2, 3, 4}))}}};

TEST_CASE("slices come in the order of the file, each under its tensor") {
  const auto slices = decode(v1_file({kScalar, kParts, kMatrix}));
  REQUIRE(slices.has_value());
  REQUIRE(slices->size() == 4);
  CHECK((*slices)[0].name == "m");
  CHECK((*slices)[1].name == "p");
  CHECK((*slices)[1].slice == 1);  // rows 0 and 1
  CHECK((*slices)[1].bytes == "\x01\x02\x03\x04");
  CHECK((*slices)[2].bytes == "\x05\x06");
  CHECK((*slices)[3].name == "s");
}

TEST_CASE("a reader that skips the values checks them all the same") {
  const std::string file = v1_file({v1_tensor("t", DType::Float32, {2}, "")});
  auto reader = V1Reader::open(TableFile(as_bytes(file)));
  REQUIRE(reader.has_value());
  CHECK(*reader->next());
  CHECK_FALSE(reader->next().has_value());
}

TEST_CASE("records that contradict the list of tensors are refused") {
  const V1Records good = test::v1_records({kMatrix, kScalar});
  const std::string matrix_key = slice_key("m", std::vector<Extent>(2));
  const std::string scalar_key = slice_key("s", {});
  const auto with = [&](auto change) {
    V1Records records = good;
    change(records);
    return refused(decode(test::v1_table(records)));
  };
  CHECK(has(with([&](V1Records& r) { r.erase(matrix_key); }), "whose values are missing"));
  CHECK(has(with([&](V1Records& r) { r.erase(scalar_key); }), "whose values are missing"));
  CHECK(has(with([&](V1Records& r) { r["x"] = r[scalar_key]; }), "belongs to no slice"));
  CHECK(
      has(with([&](V1Records& r) { r[std::string("\x00\x61", 2)] = ""; }), "belongs to no slice"));
  CHECK(has(with([&](V1Records& r) { r[matrix_key] = r[scalar_key]; }), "names another tensor"));
  CHECK(has(with([&](V1Records& r) { r[matrix_key] = ""; }), "its message is missing"));
  const std::string twice = field(1, "m") + field(2, test::slice_proto(test::Extents(2))) +
                            field(3, kMatrix.pieces[0].values) + field(3, "");
  CHECK(has(with([&](V1Records& r) { r[matrix_key] = field(2, twice); }), "has values twice"));
  CHECK(has(with([&](V1Records& r) { r[matrix_key] += r[matrix_key]; }), "two messages"));
  CHECK(has(with([&](V1Records& r) { r[""] = "\x08\x01"; }), "is not a list of tensors"));
  CHECK(has(with([&](V1Records& r) { r.erase(""); }), "its first key is not empty"));
}

TEST_CASE("lists of tensors that cannot be are refused") {
  const auto meta_of = [](V1Sample sample) {
    return refused(decode(test::v1_table({{"", test::v1_meta({std::move(sample)})}})));
  };
  V1Sample sample = kMatrix;
  sample.pieces.clear();
  CHECK(has(meta_of(sample), "has no slice"));
  sample = kMatrix;
  sample.pieces.push_back(sample.pieces.front());
  CHECK(has(meta_of(sample), "is listed twice"));
  for (const test::Extents& extents : {test::Extents{},
                                       {{0, 2}},
                                       {{0, 3}, {}},
                                       {{-1, 1}, {}},
                                       {{2, 1}, {}},
                                       {{1, INT64_MAX}, {}}}) {
    sample.pieces = {{extents, {}}};
    CHECK(has(meta_of(sample), "does not fit its shape"));
  }
  sample = kMatrix;
  sample.shape = {-2, 2};
  CHECK(has(meta_of(sample), "negative dimension"));
  sample.shape.assign(limits::kRankMax + 1, 1);
  CHECK(has(meta_of(sample), "Unsupported: tensor \"m\" has the rank 255"));
  sample = kMatrix;
  sample.name.assign(limits::kNameBytesMax + 1, 'n');
  CHECK(has(meta_of(sample), "is longer than 1048576 bytes"));
  for (const DType dtype : {DType::Invalid, DType::Bfloat16, DType::Uint32, DType::Variant,
                            DType::Resource, static_cast<DType>(101)}) {
    sample = kMatrix;
    sample.dtype = dtype;
    CHECK(has(meta_of(sample), "Unsupported: tensor \"m\" has a dtype that no V1 file holds"));
  }
}

TEST_CASE("versions follow TensorFlow's rules") {
  const auto versions = [](const std::string& text) {
    return decode(test::v1_table({{"", test::v1_meta({}, text)}}));
  };
  CHECK(versions(field(1, 1)).has_value());
  CHECK(versions("").has_value());
  CHECK(versions(field(1, 999)).has_value());
  CHECK(has(refused(versions(field(1, -1))), "Unsupported"));
  CHECK(has(refused(versions(field(1, 1) + field(2, 2))), "readers of version 2 or later"));
  CHECK(has(refused(versions(field(1, 1) + field(3, 1))), "forbids readers of version 1"));
}

TEST_CASE("a V1 file is told from the index of a bundle") {
  CHECK(*is_v1(TableFile(as_bytes(v1_file({kMatrix})))));
  CHECK(*is_v1(TableFile(as_bytes(test::read_file(test::golden("tensorflow/v1/old.ckpt-3"))))));
  for (const auto& path : test::golden_files("tensorflow", ".index"))
    CHECK_FALSE(*is_v1(TableFile(as_bytes(test::read_file(path)))));
  CHECK_FALSE(is_v1(TableFile(as_bytes("no table"))).has_value());
}

// ---- Damage

TEST_CASE("no flipped bit gives other values, and no file that is cut off gives any") {
  const std::string file = v1_file({kMatrix, kScalar, kParts});
  const auto whole = decode(file);
  REQUIRE(whole.has_value());
  const auto same = [](const DecodedSlice& a, const DecodedSlice& b) {
    return a.name == b.name && a.slice == b.slice && a.bytes == b.bytes && a.crc32c == b.crc32c;
  };
  int unnoticed = 0;
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const auto slices = decode(flipped);
    if (!slices) continue;
    CHECK(std::ranges::equal(*slices, *whole, same));
    ++unnoticed;
  }
  // The metaindex block, which nobody reads, and the zeros of the footer.
  CHECK(unnoticed < 8 * 60);
  for (std::size_t size = 0; size < file.size(); ++size)
    CHECK_FALSE(decode(std::string_view(file).substr(0, size)).has_value());
}

TEST_CASE("random damage behind right checksums neither crashes nor runs away") {
  const unsigned seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  const V1Records good = test::v1_records({kMatrix, kScalar, kParts});
  for (int round = 0; round < 20'000; ++round) {
    V1Records records = good;
    auto victim = std::next(records.begin(), static_cast<std::ptrdiff_t>(random() % good.size()));
    std::string& value = victim->second;
    for (std::size_t i = 0; i < 1 + random() % 3; ++i)
      value[random() % value.size()] = static_cast<char>(random());
    const auto slices = decode(test::v1_table(records));
    if (!slices) CHECK_FALSE(slices.error().what.empty());
  }
}

}  // namespace
}  // namespace cairn::format::tensorflow
