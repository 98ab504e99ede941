#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "format/tensorflow/state_text.h"
#include "tests/oracle/text_format.h"
#include "tests/unit/golden.h"

namespace cairn::format::tensorflow {
namespace {

using Strings = std::vector<std::string>;
using Doubles = std::vector<double>;

// The path that a text of one field gives.
std::string path_of(const std::string& literals) {
  const auto state = decode_state("model_checkpoint_path: " + literals);
  return state ? state->model_checkpoint_path : "refused: " + state.error().what;
}

std::optional<double> number_of(const std::string& number) {
  const auto state = decode_state("last_preserved_timestamp: " + number);
  if (!state) return std::nullopt;
  return state->last_preserved_timestamp;
}

std::string written(double value) {
  StateFacts state;
  state.all_model_checkpoint_timestamps = {value};
  const std::string line = encode_state(state);
  const std::size_t start = line.find(": ") + 2;
  return line.substr(start, line.size() - start - 1);
}

std::string random_path(std::mt19937_64& random) {
  static const Strings pieces = {"a",       "/",
                                 "ckpt-",   "\"",
                                 "'",       "\\",
                                 "\n",      "\t",
                                 "\r",      "#",
                                 "\x01",    "[",
                                 "\x7f",    "유",
                                 "é",       "\xf0\x9f\x98\x80",
                                 "x41",     "0",
                                 "?",       ";",
                                 "\\u0041", std::string(1, '\0')};
  std::string path;
  for (auto count = random() % 12; count > 0; --count) path += pieces[random() % pieces.size()];
  return path;
}

double random_double(std::mt19937_64& random) {
  switch (random() % 4) {
    case 0:
      return static_cast<double>(random() % 2'000'000'000) + 0.25;
    case 1:
      return static_cast<double>(random() % 100) *
             std::pow(10.0, static_cast<double>(random() % 40) - 20);
    case 2:
      return 1.7e9 + static_cast<double>(random() % 10'000'000) / 1e7;
    default: {
      const double any = std::bit_cast<double>(random());
      return std::isnan(any) ? 0.5 : any;
    }
  }
}

StateFacts random_state(std::mt19937_64& random) {
  StateFacts state;
  state.model_checkpoint_path = random_path(random);
  for (auto count = random() % 6; count > 0; --count) {
    state.all_model_checkpoint_paths.push_back(random_path(random));
    state.all_model_checkpoint_timestamps.push_back(random_double(random));
  }
  if (random() % 2 == 0) state.last_preserved_timestamp = random_double(random);
  return state;
}

// ---- As TensorFlow writes

TEST_CASE("every catalog that TensorFlow wrote is read and written again byte for byte") {
  for (const char* path :
       {"saver_walk/saved/checkpoint", "saver_walk/saved/checkpoint.after_train1",
        "tf2_manager/tf_ckpts/checkpoint", "v1/checkpoint", "sharded/checkpoint",
        "partitioned/checkpoint"}) {
    CAPTURE(path);
    const std::string text = test::read_file(test::golden(std::string("tensorflow/") + path));
    const auto state = decode_state(text);
    REQUIRE(state.has_value());
    CHECK(encode_state(*state) == text);
  }
}

TEST_CASE("the latest checkpoint stands first, all follow, oldest first") {
  const auto state =
      decode_state(test::read_file(test::golden("tensorflow/saver_walk/saved/checkpoint")));
  REQUIRE(state.has_value());
  CHECK(state->model_checkpoint_path == "train2-9");
  CHECK(state->all_model_checkpoint_paths ==
        Strings{"train2-5", "train2-6", "train2-7", "train2-8", "train2-9"});
}

TEST_CASE("doubles are written as Python's repr") {
  const std::pair<double, const char*> cases[] = {
      {1.0, "1.0"},
      {1700000000.1234567, "1700000000.1234567"},
      {1e-7, "1e-07"},
      {1e22, "1e+22"},
      {1e15, "1000000000000000.0"},
      {1e16, "1e+16"},
      {12345678901234567.0, "1.2345678901234568e+16"},
      {1234567890123456.7, "1234567890123456.8"},
      {0.0001, "0.0001"},
      {0.00012, "0.00012"},
      {0.00001, "1e-05"},
      {-2.5, "-2.5"},
      {-0.0, "-0.0"},
      {0.0, "0.0"},
      {100.0, "100.0"},
      {123.456, "123.456"},
      {5e-324, "5e-324"},
      {1.7976931348623157e308, "1.7976931348623157e+308"},
      {std::numeric_limits<double>::infinity(), "inf"},
      {-std::numeric_limits<double>::infinity(), "-inf"},
      {std::numeric_limits<double>::quiet_NaN(), "nan"},
  };
  for (const auto& [value, text] : cases) CHECK(written(value) == text);
}

TEST_CASE("strings are escaped as TensorFlow does") {
  StateFacts state;
  state.model_checkpoint_path = "q\"a'b\\n\nt\tr\r\x01\x7f유";
  CHECK(encode_state(state) ==
        "model_checkpoint_path: \"q\\\"a\\'b\\\\n\\nt\\tr\\r\\001\\177유\"\n");
  state.model_checkpoint_path = "\xc3\xa9\xff";  // no UTF-8 at all
  CHECK(encode_state(state) == "model_checkpoint_path: \"\\303\\251\\377\"\n");
  CHECK(encode_state({}).empty());
}

// ---- As people write

TEST_CASE("the whole syntax of text format is read") {
  const auto state = decode_state(
      "# a comment\r\n"
      "model_checkpoint_path: 'first'  # another\r\n"
      "model_checkpoint_path:\"a\" 'b'\n  \"c\";\r\n"
      "all_model_checkpoint_paths: ['x', \"y\" 'z'], all_model_checkpoint_paths: 'w'"
      "all_model_checkpoint_paths: []\n"
      "all_model_checkpoint_timestamps: [1, 2.5f, -inf]\n"
      "all_model_checkpoint_timestamps: 4e2\v\f\n"
      "last_preserved_timestamp\n:\n.5");
  REQUIRE_MESSAGE(state.has_value(), (state ? "" : state.error().what));
  CHECK(state->model_checkpoint_path == "abc");
  CHECK(state->all_model_checkpoint_paths == Strings{"x", "yz", "w"});
  CHECK(state->all_model_checkpoint_timestamps ==
        Doubles{1, 2.5, -std::numeric_limits<double>::infinity(), 400});
  CHECK(state->last_preserved_timestamp == 0.5);
  CHECK(*decode_state("") == StateFacts{});
  CHECK(*decode_state(" # only a comment") == StateFacts{});
}

TEST_CASE("every escape means what it means to TensorFlow") {
  const std::pair<const char*, std::string> cases[] = {
      {R"('\a\b\f\n\r\t\v\\\'\"')", "\a\b\f\n\r\t\v\\'\""},
      {R"("\x41\x4\x414")",
       "A\x04"
       "A4"},
      {R"("\101\1\0011\08")", std::string("A\x01\x01"
                                          "1\0"
                                          "8",
                                          6)},
      {R"("\303\251")", "é"},
      {R"("\xc3" "\xa9")", "é"},
      {R"("\u00e9\u0041")", "éA"},
      {R"("\U0001f600")", "\xf0\x9f\x98\x80"},
      {R"("\ud83d\ude00")", "\xf0\x9f\x98\x80"},
      {R"("C:\dir\q")", R"(C:\dir\q)"},
      {R"("it's" '"')", "it's\""},
      {"\"유\"", "유"},
      {"\"#no comment\"", "#no comment"},
      {"''", ""},
  };
  for (const auto& [literals, path] : cases) {
    CAPTURE(literals);
    CHECK(path_of(literals) == path);
  }
}

TEST_CASE("numbers are read as TensorFlow reads them") {
  const std::pair<const char*, double> cases[] = {
      {"0", 0},           {"-0.0", -0.0},    {"1.", 1},           {".5", 0.5},
      {"+1", 1},          {"1e5", 1e5},      {"1E+5", 1e5},       {"1.5f", 1.5},
      {"1e5f", 1e5},      {"1F", 1},         {"1ff", 1},          {"0.5", 0.5},
      {"1e-7", 1e-7},     {"0e1", 0},        {"1e999", HUGE_VAL}, {"-1e999", -HUGE_VAL},
      {"1e-999", 0},      {"inf", HUGE_VAL}, {"-inf", -HUGE_VAL}, {"Infinity", HUGE_VAL},
      {"inff", HUGE_VAL},
  };
  for (const auto& [text, value] : cases) {
    CAPTURE(text);
    CHECK(number_of(text) == value);
  }
  CHECK(std::isnan(number_of("nan").value_or(0)));
  CHECK(std::isnan(number_of("-nan").value_or(0)));
  for (const char* text : {"0x10", "017", "-017", "00", "1e", "e5", "1.2.3", "- 1", "--1", "+-1",
                           "1_0", "'1'", "f", "", "1fff0", "nan(1)", "true"}) {
    CAPTURE(text);
    CHECK_FALSE(number_of(text).has_value());
  }
}

TEST_CASE("what TensorFlow ignores as no catalog is Corrupt, with the place where") {
  const std::pair<const char*, const char*> cases[] = {
      {"unknown: 1", "line 1, column 1: a field of CheckpointState is expected, found \"unknown\""},
      {"model_checkpoint_path: 'a'\n  b", "line 2, column 3: a field"},
      {"\xef\xbb\xbfmodel_checkpoint_path: 'a'", "line 1, column 1: the file begins with a byte"},
      {"model_checkpoint_path 'a'", "line 1, column 23: \":\" is expected"},
      {"model_checkpoint_path:", "a quoted string is expected, found the end of the file"},
      {"model_checkpoint_path: a", "a quoted string is expected, found \"a\""},
      {"model_checkpoint_path: ['a']", "a quoted string is expected, found \"[\""},
      {"model_checkpoint_path: 'a", "a string's closing quote is missing"},
      {"model_checkpoint_path: 'a\n'", "a string's closing quote is missing"},
      {"model_checkpoint_path: 'a\\'", "valid escapes"},
      {"model_checkpoint_path: 'a\"", "a string's closing quote is missing"},
      {"model_checkpoint_path: '\\x'", "valid escapes"},
      {"model_checkpoint_path: '\\xg'", "valid escapes"},
      {"model_checkpoint_path: '\\777'", "valid escapes"},
      {"model_checkpoint_path: '\\u12'", "valid escapes"},
      {"model_checkpoint_path: '\\U00110000'", "valid escapes"},
      {"model_checkpoint_path: '\\ud83d'", "UTF-8"},
      {"model_checkpoint_path: '\\ude00\\ud83d'", "UTF-8"},
      {"model_checkpoint_path: '\\xff'", "UTF-8"},
      {"model_checkpoint_path: '\xff'", "the file is not UTF-8"},
      {"all_model_checkpoint_paths: ['a',]", "a quoted string is expected, found \"]\""},
      {"all_model_checkpoint_paths: ['a' 1]", "\",\" or \"]\" is expected"},
      {"all_model_checkpoint_paths: ['a'", "\",\" or \"]\" is expected"},
      {"model_checkpoint_path: 'a',;", "a field of CheckpointState is expected"},
      {"{", "a field of CheckpointState is expected"},
      {"1: 'a'", "a field of CheckpointState is expected"},
      {"model_checkpoint_path { }", "\":\" is expected"},
  };
  for (const auto& [text, what] : cases) {
    CAPTURE(text);
    const auto state = decode_state(text);
    REQUIRE_FALSE(state.has_value());
    CHECK(state.error().code == Code::Corrupt);
    CHECK_MESSAGE(state.error().what.find(what) != std::string::npos, state.error().what);
  }
}

// ---- Beside protobuf's own

TEST_CASE(
    "a thousand random states are read by protobuf as written, and from protobuf as printed") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 1000; ++round) {
    const StateFacts state = random_state(random);
    const std::string text = encode_state(state);
    CAPTURE(text);
    const auto read = oracle::parse_text(text);
    REQUIRE(read.has_value());
    CHECK(*read == state);
    CHECK(*decode_state(text) == state);
    CHECK(*decode_state(oracle::print_text(state)) == state);
  }
}

TEST_CASE("text that is random, cut or altered is survived, and read as protobuf reads it") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const std::string good =
      encode_state(random_state(random)) + "all_model_checkpoint_paths: ['a',\"b\"] # c\n";
  const std::string alphabet = "\"'\\:;,[]#\n\t {}<>0123456789eEfFxu.-+ai";
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good.substr(0, random() % (good.size() + 1));
    for (auto edits = random() % 3; edits > 0 && !text.empty(); --edits) {
      text[random() % text.size()] = alphabet[random() % alphabet.size()];
    }
    const auto ours = decode_state(text);
    const auto theirs = oracle::parse_text(text);
    // protobuf's C++ refuses some that Python accepts, and the other way round. Where both accept,
    // both say the same, but for one escape, whose backslash only Python keeps.
    const bool differs = text.find("\\?") != std::string::npos;
    if (ours && theirs && !differs) {
      CAPTURE(text);
      CHECK(encode_state(*ours) == encode_state(*theirs));
    }
  }
}

}  // namespace
}  // namespace cairn::format::tensorflow
