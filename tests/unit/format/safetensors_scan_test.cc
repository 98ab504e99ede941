#include "format/safetensors/header_scan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "format/le.h"
#include "format/safetensors/header.h"
#include "tests/plain_facts.h"
#include "tests/unit/format/safetensors_samples.h"

namespace cairn::format::safetensors {
namespace {

ReadAt reads_of(std::string_view head) {
  return [head](std::uint64_t at, std::span<std::byte> out) -> Decoded<void> {
    std::ranges::copy(as_bytes(head).subspan(at, out.size()), out.begin());
    return {};
  };
}

// What the scan says is what the parser says. True: it says something.
bool scans_as_parsed(std::string_view json, std::uint64_t payload_bytes) {
  const std::string head = head_of(json);
  const auto scanned = scan_header(reads_of(head), json.size(), head.size() + payload_bytes);
  if (!scanned) return false;
  const auto parsed = decode_header(as_bytes(head), head.size() + payload_bytes);
  REQUIRE_MESSAGE(parsed.has_value(), parsed.error().what);
  CHECK(scanned->metadata == parsed->metadata);
  CHECK(tests::facts_of(scanned->tensors) == parsed->tensors);
  return true;
}

bool parses(std::string_view json, std::uint64_t payload_bytes) {
  const std::string head = head_of(json);
  return decode_header(as_bytes(head), head.size() + payload_bytes).has_value();
}

constexpr std::string_view kStock =
    R"({"__metadata__":{"format":"pt"},)"
    R"("model.layers.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("model.none":{"dtype":"F32","shape":[0],"data_offsets":[24,24]},)"
    R"("a":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},)"
    R"("model.layers.0.bias":{"dtype":"BF16","shape":[1,1,2],"data_offsets":[26,30]},)"
    R"("b":{"dtype":"U8","shape":[1],"data_offsets":[30,31]}}   )";

TEST_CASE("a header as the library writes it is scanned, and sorted by name") {
  CHECK(scans_as_parsed(kStock, 31));
  CHECK(scans_as_parsed("{}", 0));
  CHECK(scans_as_parsed(R"({"__metadata__":{}})", 0));
  CHECK(scans_as_parsed(R"({"":{"dtype":"I8","shape":[],"data_offsets":[0,1]}})", 1));
  CHECK(scans_as_parsed(R"({"x":{"dtype":"I8","shape":[],"data_offsets":[0,1]},)"
                        R"("__metadata__":{"a":"1","b":""}})",
                        1));
}

TEST_CASE("runs of names are merged, however many") {
  std::mt19937 random(3);
  for (std::size_t count = 0; count < 40; ++count) {
    std::string json = "{";
    for (std::size_t i = 0; i < count; ++i) {
      const std::string name = std::to_string(random() % 1000 + 1000 * i % 7000);
      json += (i == 0 ? "\"" : ",\"") + name + "-" + std::to_string(i) +
              R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]}";
    }
    CHECK(scans_as_parsed(json + "}", count));
  }
}

std::string padded(std::size_t tensors, std::size_t name_bytes, std::size_t spaces) {
  std::string json = "{";
  for (std::size_t i = 0; i < tensors; ++i) {
    const std::string number = std::to_string(100'000 + i);
    json += (i == 0 ? "\"" : ",\"") + number + std::string(name_bytes, 'n') +
            R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::to_string(i) + "," +
            std::to_string(i + 1) + "]}";
  }
  return json + "}" + std::string(spaces, ' ');
}

TEST_CASE("a text of any length is scanned window by window") {
  CHECK(scans_as_parsed(padded(10'000, 40, 0), 10'000));
  CHECK(scans_as_parsed(padded(1, 10, 1'000'000), 1));
  CHECK(scans_as_parsed(padded(30, 60'000, 3), 30));
  CHECK_FALSE(scans_as_parsed(padded(2, 300'000, 3), 2));  // an entry that is too long
  for (std::size_t bytes = 200; bytes < 300; ++bytes)      // each place of the first window's end
    CHECK(scans_as_parsed(padded(2'000, bytes, bytes), 2'000));
  const std::string head = head_of(kStock);
  const auto no_bytes = [](std::uint64_t, std::span<std::byte>) -> Decoded<void> {
    return DecodeError{Code::Io, 0, "no bytes"};
  };
  CHECK_FALSE(scan_header(no_bytes, kStock.size(), head.size() + 31).has_value());
}

TEST_CASE("what is spelled otherwise is left to the parser, which takes it") {
  struct Sample {
    const char* json;
    std::uint64_t payload_bytes;
  };
  const std::array samples = {
      Sample{R"( {"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1},
      Sample{R"({"a" :{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1},
      Sample{R"({"a":{"dtype":"U8","shape":[1], "data_offsets":[0,1]}})", 1},
      Sample{R"({"a":{"shape":[1],"dtype":"U8","data_offsets":[0,1]}})", 1},
      Sample{R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1},
      Sample{R"({"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1},
      Sample{"{\"\xc3\xa9\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1},
      Sample{"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}\n", 1},
      Sample{R"({"a":{"dtype":"F8_E8M0","shape":[1],"data_offsets":[0,1]}})", 1},
      Sample{R"({"a":{"dtype":"U8","shape":[0,9223372036854775807],"data_offsets":[0,0]}})", 0},
      Sample{R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},)"
             R"("b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
             2},
      Sample{R"({"__metadata__":null})", 0},
      Sample{R"({"__metadata__":{"a":"\n"}})", 0},
  };
  for (const Sample& sample : samples) {
    CAPTURE(sample.json);
    CHECK_FALSE(scans_as_parsed(sample.json, sample.payload_bytes));
    CHECK(parses(sample.json, sample.payload_bytes));
  }
}

TEST_CASE("a dtype without a name is left to the parser, which refuses it") {
  for (const std::string_view json : {R"({"a":{"dtype":"","shape":[0],"data_offsets":[0,0]}})",
                                      R"({"a":{"dtype":"","shape":[1],"data_offsets":[0,0]}})"}) {
    CHECK_FALSE(scans_as_parsed(json, 0));
    CHECK_FALSE(parses(json, 0));
  }
}

TEST_CASE("the scan takes nothing that the parser refuses, and changes nothing") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const std::array<std::string_view, 12> parts = {"\"", ",", "{", "}",  "[",      "]",
                                                  "0",  "9", "a", "\\", "\"a\":", "__metadata__"};
  int scanned = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::string json(kStock);
    for (auto changes = random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % json.size();
      const std::string_view part = parts[random() % parts.size()];
      if (random() % 2 == 0)
        json.replace(at, random() % 3, part);
      else
        json[at] = static_cast<char>(json[at] ^ (1 << random() % 8));
    }
    scanned += scans_as_parsed(json, 31) ? 1 : 0;
  }
  CHECK(scanned > 16'000);  // of those without a change, and of names that have become others
}

}  // namespace
}  // namespace cairn::format::safetensors
