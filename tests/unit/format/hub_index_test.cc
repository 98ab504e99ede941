#include "format/safetensors/hub_index.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "format/le.h"

using cairn::Code;
using cairn::format::as_bytes;
using cairn::format::safetensors::decode_hub_index;

namespace {

constexpr std::string_view kTwoFiles = R"({
  "metadata": {"total_size": 412, "total_parameters": 1.5, "note": "hi", "tied": {"a": ["b"]}},
  "weight_map": {"b": "m-2.safetensors", "c": "m-1.safetensors", "a": "m-2.safetensors"}
}
)";

}  // namespace

TEST_CASE("an index of a safetensors model says which file holds which tensor") {
  const auto index = decode_hub_index(as_bytes(kTwoFiles));
  REQUIRE(index);
  CHECK(index->files == std::vector<std::string>{"m-1.safetensors", "m-2.safetensors"});
  using Entry = std::pair<std::string, std::uint32_t>;
  CHECK(index->tensors == std::vector<Entry>{{"a", 1}, {"b", 1}, {"c", 0}});
  const cairn::format::KeyValues metadata{{"total_size", "412"},
                                          {"total_parameters", "1.5"},
                                          {"note", "hi"},
                                          {"tied", R"({"a":["b"]})"}};
  CHECK(index->metadata == metadata);
}

TEST_CASE("an index of a safetensors model needs no metadata and no tensor") {
  for (const std::string_view text :
       {R"({"weight_map": {}})", R"({"weight_map":{},"metadata":null})"}) {
    const auto index = decode_hub_index(as_bytes(text));
    REQUIRE(index);
    CHECK(index->files.empty());
    CHECK(index->metadata.empty());
  }
}

TEST_CASE("an index of a safetensors model is written as Python's json does it, and read back") {
  using Entry = std::pair<std::string_view, std::string_view>;
  const Entry weight_map[] = {{"a\"\n", "model-00001-of-00002.safetensors"},
                              {"größe", "model-00002-of-00002.safetensors"}};
  const std::string text = cairn::format::safetensors::encode_hub_index(weight_map, 412);
  CHECK(text == R"({
  "metadata": {
    "total_size": 412
  },
  "weight_map": {
    "a\"\u000a": "model-00001-of-00002.safetensors",
    "größe": "model-00002-of-00002.safetensors"
  }
}
)");
  const auto index = decode_hub_index(as_bytes(text));
  REQUIRE(index);
  CHECK(index->files.size() == 2);
  using Tensor = std::pair<std::string, std::uint32_t>;
  CHECK(index->tensors == std::vector<Tensor>{{"a\"\n", 0}, {"größe", 1}});
}

TEST_CASE("what is no index of a safetensors model is refused in a sentence") {
  struct Case {
    std::string_view text;
    std::string_view said;
    Code code = Code::Corrupt;
  };
  const Case cases[] = {
      {"", "no JSON"},
      {"[]", "no JSON object"},
      {"{}", "\"weight_map\" is missing"},
      {R"({"weight_map": []})", "is no object"},
      {R"({"weight_map": {"a": 1}})", "\"a\" has no file name"},
      {R"({"weight_map": {"a": "x", "a": "y"}})", "\"a\" is there twice"},
      {R"({"weight_map": {}, "weight_map": {}})", "\"weight_map\" is there twice"},
      {R"({"weight_map": {}, "metadata": 3})", "\"metadata\" is no object"},
      {R"({"weight_map": {}, "metadata": {"a": 1, "a": 2}})", "\"a\" is there twice"},
      {R"({"weight_map": {"a": "x"}, "metadata": {"delta_encoding": "xor"}})", "differences",
       Code::Unsupported},
      {R"({"weight_map": {}} x)", "no JSON"},
  };
  for (const Case& each : cases) {
    INFO(each.text);
    const auto index = decode_hub_index(as_bytes(each.text));
    REQUIRE_FALSE(index);
    CHECK(index.error().code == each.code);
    CHECK_MESSAGE(index.error().what.find(each.said) != std::string::npos, index.error().what);
  }
}

TEST_CASE(
    "an index of a safetensors model with a flipped bit, or cut, is refused or another index") {
  const auto right = decode_hub_index(as_bytes(kTwoFiles));
  std::size_t refused = 0;
  for (std::size_t i = 0; i < kTwoFiles.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string text(kTwoFiles);
      text[i] = static_cast<char>(static_cast<unsigned char>(text[i]) ^ (1u << bit));
      if (!decode_hub_index(as_bytes(text))) ++refused;
    }
    // The newline behind it and all before are needed.
    const bool whole = kTwoFiles.substr(i).find_first_not_of("\n") == std::string_view::npos;
    CHECK(decode_hub_index(as_bytes(kTwoFiles.substr(0, i))).has_value() == whole);
  }
  CHECK(refused > kTwoFiles.size());
}
