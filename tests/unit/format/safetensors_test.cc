#include "format/safetensors/header.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include <simdjson.h>

#include "format/le.h"
#include "format/limits.h"
#include "tests/unit/format/safetensors_samples.h"

namespace cairn::format::safetensors {
namespace {

// Decodes a file of this header and so many bytes of payload.
Decoded<HeaderFacts> decode(std::string_view json, std::uint64_t payload_bytes) {
  const std::string head = head_of(json);
  return decode_header(as_bytes(head), head.size() + payload_bytes);
}

const TensorFacts& tensor(const HeaderFacts& facts, std::string_view name) {
  const auto found = std::ranges::find(facts.tensors, name, &TensorFacts::name);
  REQUIRE(found != facts.tensors.end());
  return *found;
}

TEST_CASE(
    "a header gives tensors sorted by name, with offsets in the file, and metadata in order") {
  const std::string_view json =
      R"( {"__metadata__":{"format":"pt","a":""},)"
      R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("a":{"shape":[],"data_offsets":[24,26],"dtype":"BF16","extra":{"x":[1]}},)"
      R"("none":{"dtype":"I64","shape":[0,7],"data_offsets":[24,24]}}  )";
  const auto facts = decode(json, 26);
  REQUIRE_MESSAGE(facts.has_value(), facts.error().what);
  CHECK(facts->metadata == KeyValues{{"format", "pt"}, {"a", ""}});
  REQUIRE(facts->tensors.size() == 3);
  const std::uint64_t head_bytes = 8 + json.size();
  CHECK(facts->tensors[0].name == "a");
  CHECK(facts->tensors[0].dtype == DType::Bfloat16);
  CHECK(facts->tensors[0].shape.empty());
  CHECK(facts->tensors[0].span == Span{0, head_bytes + 24, 2, std::nullopt});
  CHECK(facts->tensors[1].shape == std::vector<std::int64_t>{2, 3});
  CHECK(facts->tensors[1].span == Span{0, head_bytes, 24, std::nullopt});
  CHECK(facts->tensors[2].span == Span{0, head_bytes + 24, 0, std::nullopt});
}

TEST_CASE("headers that say little are headers") {
  CHECK(decode("{}", 0).has_value());
  CHECK(decode(R"({"__metadata__":{}})", 0).has_value());
  CHECK(decode(R"({"__metadata__":null})", 0)->metadata.empty());
}

TEST_CASE("names are what JSON's escapes stand for") {
  const auto facts = decode(R"({"\u0000\"\\\n\u00e9":{"dtype":"U8","shape":[],)"
                            R"("data_offsets":[0,1]}})",
                            1);
  REQUIRE(facts.has_value());
  CHECK(facts->tensors[0].name == std::string("\0\"\\\n\xc3\xa9", 6));
}

TEST_CASE("dtypes without counterpart are kept with their name and bits") {
  const auto facts = decode(R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},)"
                            R"("b":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[2,5]},)"
                            R"("c":{"dtype":"F6_E3M2","shape":[8],"data_offsets":[5,11]},)"
                            R"("d":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[11,15]}})",
                            15);
  REQUIRE(facts.has_value());
  const std::pair<const char*, int> expected[] = {
      {"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F8_E8M0", 8}};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(facts->tensors[i].dtype == DType::Opaque);
    CHECK(facts->tensors[i].opaque_dtype == expected[i].first);
    CHECK(facts->tensors[i].opaque_bits == expected[i].second);
  }
}

TEST_CASE("a dtype of unknown size is Unsupported, and named") {
  const auto facts = decode(R"({"a":{"dtype":"F3","shape":[],"data_offsets":[0,1]}})", 1);
  CHECK(facts.error().code == Code::Unsupported);
  CHECK(facts.error().what.find("F3") != std::string::npos);
}

TEST_CASE("what breaks safetensors' rules is refused") {
  struct Case {
    const char* json;
    std::uint64_t payload_bytes;
    const char* complaint;
  };
  const Case cases[] = {
      {"", 0, "not a JSON object"},
      {"[]", 0, "not a JSON object"},
      {"{", 0, "not a JSON object"},
      {"{}{}", 0, "not a JSON object"},
      {"{} x", 0, "not a JSON object"},
      {"{\"\xff\":1}", 0, "not a JSON object"},
      {R"({"a":1})", 0, "its description is not a JSON object"},
      {R"({"__metadata__":1})", 0, "is not a JSON object"},
      {R"({"__metadata__":{"a":1}})", 0, "is not a string"},
      {R"({"__metadata__":{"a":"1","a":"1"}})", 0, "appears twice"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "appears twice"},
      {R"({"a":{"shape":[],"data_offsets":[0,1]}})", 1, "is missing"},
      {R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1, "is missing"},
      {R"({"a":{"dtype":"U8","shape":[]}})", 0, "is missing"},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}})", 1, "appears twice"},
      {R"({"a":{"dtype":1,"shape":[],"data_offsets":[0,1]}})", 1, "wrong type"},
      {R"({"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})", 1, "wrong type"},
      {R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, "not an integer"},
      {R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1, "not an integer"},
      {R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}})", 1, "integer"},
      {R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "large"},
      {R"({"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0, "large"},
      {R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0]}})", 1, "a begin and an end"},
      {R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1,1]}})", 1, "a begin and an end"},
      {R"({"a":{"dtype":"U8","shape":[],"data_offsets":[1,0]}})", 1, "a begin and an end"},
      {R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,"1"]}})", 1, "a begin and an end"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}})", 1, "do not have 1 bytes"},
      {R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2, "do not have 2 bytes"},
      {R"({"a":{"dtype":"U8","shape":[],"data_offsets":[1,2]}})", 2, "starts at byte 1"},
      {R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", 2, "end at byte 1"},
      {R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", 0, "end at byte 1"},
      {R"({"a":{"dtype":"U8","shape":[],"data_offsets":[18446744073709551614,18446744073709551615]}})",
       1, "starts at"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
       R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "starts at byte 1"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
       R"("b":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}})",
       2, "starts at"},
      {R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
       R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
       2, "appears twice"},
  };
  for (const auto& [json, payload_bytes, complaint] : cases) {
    CAPTURE(json);
    const auto facts = decode(json, payload_bytes);
    REQUIRE_FALSE(facts.has_value());
    CHECK(facts.error().code == Code::Corrupt);
    CHECK_MESSAGE(facts.error().what.find(complaint) != std::string::npos, facts.error().what);
  }
}

TEST_CASE("dimensions have a limit") {
  const auto of_rank = [](std::size_t rank) {
    std::string shape = "1";
    for (std::size_t i = 1; i < rank; ++i) shape += ",1";
    return decode(R"({"a":{"dtype":"U8","data_offsets":[0,1],"shape":[)" + shape + "]}}", 1);
  };
  CHECK(of_rank(limits::kRankMax).has_value());
  const auto more = of_rank(limits::kRankMax + 1);
  REQUIRE_FALSE(more.has_value());
  CHECK(more.error().what.find("more dimensions than the limit") != std::string::npos);
}

TEST_CASE("where the file's size is not known, its end must be one that a file can have") {
  // Four tensors of 2^61 - 1 bytes, whose bits can just be counted, and a small one.
  const auto ending_with = [](std::uint64_t last_bytes) {
    std::string json;
    std::uint64_t begin = 0;
    for (int i = 0; i < 5; ++i) {
      const std::uint64_t size = i < 4 ? (std::uint64_t{1} << 61) - 1 : last_bytes;
      json += (i == 0 ? "{\"" : ",\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[)" +
              std::to_string(size) + R"(],"data_offsets":[)" + std::to_string(begin) + "," +
              std::to_string(begin + size) + "]}";
      begin += size;
    }
    const std::string head = head_of(json + "}");
    return decode_header(as_bytes(head), std::nullopt);
  };
  CHECK(ending_with(3).has_value());
  const auto beyond = ending_with(4);
  REQUIRE_FALSE(beyond.has_value());
  CHECK(beyond.error().what.find("more than a file can have") != std::string::npos);
}

TEST_CASE("a header longer than its file or than any reader takes is refused") {
  std::string head;
  append_le(head, std::uint64_t{100'000'001});
  CHECK_FALSE(header_json_bytes(as_bytes(head)).has_value());
  const auto short_of_one = header_json_bytes(as_bytes(head.substr(0, 7)));
  REQUIRE_FALSE(short_of_one.has_value());
  CHECK(short_of_one.error().what.find("the file has 7 bytes") != std::string::npos);
  const std::string whole = head_of("{}");
  CHECK(*header_json_bytes(as_bytes(whole)) == 2);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(decode_header(as_bytes(whole).first(size), whole.size()).has_value());
    CHECK_FALSE(decode_header(as_bytes(whole), size).has_value());
  }
}

TEST_CASE("a nesting of any depth is refused or read over, never followed") {
  const std::string deep(100'000, '[');
  CHECK_FALSE(decode(deep, 0).has_value());
  CHECK_FALSE(decode(R"({"a":{"x":)" + deep, 0).has_value());
}

// ---- Writing -----------------------------------------------------------------------------------

TEST_CASE("a header is JSON, metadata first, padded with spaces to the alignment") {
  const std::vector<std::int64_t> shape = {2, 3};
  const std::vector<HeaderTensor> tensors = {{"w", DType::Float32, shape, 24},
                                             {"b\"\n", DType::Bool, {}, 1}};
  const std::string head = encode_header(tensors, {{"format", "pt"}}, 256);
  REQUIRE(head.size() == 256);
  CHECK(load_le<std::uint64_t>(as_bytes(head).data()) == 248);
  const std::string_view json =
      R"({"__metadata__":{"format":"pt"},)"
      R"("w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b\"\u000a":{"dtype":"BOOL","shape":[],"data_offsets":[24,25]}})";
  CHECK(head.substr(8, json.size()) == json);
  CHECK(head.substr(8 + json.size()).find_first_not_of(' ') == std::string::npos);
}

TEST_CASE("an empty header is one, for every alignment") {
  for (const std::uint64_t align : {1u, 8u, 10u, 64u, 4096u}) {
    const std::string head = encode_header({}, {}, align);
    CHECK(head.size() % align == 0);
    CHECK(decode_header(as_bytes(head), head.size()).has_value());
  }
}

TEST_CASE("what is written is what simdjson and the decoder read") {
  const std::uint64_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  constexpr DType kDTypes[] = {DType::Float32,      DType::Uint8, DType::Bool,
                               DType::Float8E4M3FN, DType::Int64, DType::Bfloat16};
  for (int round = 0; round < 50; ++round) {
    std::vector<std::string> names;
    std::vector<std::vector<std::int64_t>> shapes;
    for (std::uint64_t i = random() % 20; i > 0; --i) {
      std::string name = std::to_string(i) + ":";  // so that none is another one's beginning
      for (std::uint64_t extra = random() % 6; extra > 0; --extra) {
        name += static_cast<char>(random() % 128);
      }
      names.push_back(name + "\xe2\x82\xac");
      shapes.push_back({static_cast<std::int64_t>(random() % 5), 3});
    }
    std::vector<HeaderTensor> tensors;
    std::uint64_t payload_bytes = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const DType dtype = kDTypes[random() % std::size(kDTypes)];
      const auto count = static_cast<std::uint64_t>(shapes[i][0] * shapes[i][1]);
      tensors.push_back({names[i], dtype, shapes[i], count * element_bytes(dtype)});
      payload_bytes += tensors.back().size_bytes;
    }
    const std::string head = encode_header(tensors, {{"k\t", "v\\"}}, 4096);
    CHECK(head.size() % 4096 == 0);
    simdjson::dom::parser parser;
    simdjson::dom::object object;
    REQUIRE_FALSE(parser.parse(head.data() + 8, head.size() - 8).get(object));
    CHECK(object.size() == names.size() + 1);
    const auto facts = decode_header(as_bytes(head), head.size() + payload_bytes);
    REQUIRE_MESSAGE(facts.has_value(), facts.error().what);
    CHECK(facts->metadata == KeyValues{{"k\t", "v\\"}});
    for (const HeaderTensor& written : tensors) {
      const TensorFacts& read = tensor(*facts, written.name);
      CHECK(read.dtype == written.dtype);
      CHECK(std::ranges::equal(read.shape, written.shape));
      CHECK(read.span.size_bytes == written.size_bytes);
    }
  }
}

TEST_CASE("a header that readers would refuse is not written") {
  const HeaderTensor nameless[] = {{"s", DType::String, {}, 5}};
  CHECK(encode_header(nameless, {}, 4096).empty());
  const std::string huge(60'000'000, 'n');
  const HeaderTensor twice[] = {{huge, DType::Uint8, {}, 1}, {huge, DType::Uint8, {}, 1}};
  CHECK(encode_header(std::span(twice).first(1), {}, 4096).size() > huge.size());
  CHECK(encode_header(twice, {}, 4096).empty());
}

TEST_CASE("the largest padded header is the last multiple of the alignment that readers take") {
  const auto head_with_metadata = [](std::size_t size) {
    return encode_header({}, {{"k", std::string(size, 'v')}}, 4096);
  };
  // 99,999,736 bytes of JSON hold {"__metadata__":{"k":"…"}} with this many.
  constexpr std::size_t kLargest = 99'999'736 - 25;
  CHECK(head_with_metadata(kLargest).size() == 99'999'744);
  CHECK(head_with_metadata(kLargest + 1).empty());
}

TEST_CASE("UTF-8 is told from other bytes") {
  CHECK(is_utf8(""));
  CHECK(is_utf8("\xe2\x82\xac"));
  for (const char* text : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xe2\x82"})
    CHECK_FALSE(is_utf8(text));
}

}  // namespace
}  // namespace cairn::format::safetensors
