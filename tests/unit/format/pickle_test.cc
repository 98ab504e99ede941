// The pickle machine: every operation by a table, real pickles of every protocol, and what is
// refused.

#include "format/pickle/machine.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <span>
#include <string>

#include "format/le.h"
#include "format/limits.h"
#include "format/pickle/text.h"
#include "format/quoted.h"
#include "tests/unit/format/pickle_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using namespace std::string_literals;
using format::pickle::Graph;
using format::pickle::Input;
using format::pickle::Kind;
using format::pickle::Node;
using format::pickle::Ref;
using test::has;

// A value as Python would write it, nearly: deep enough for these tests, and cut where it is
// deeper.
std::string render(const Graph& graph, Ref value, int depth = 8) {
  if (depth == 0) return "...";
  const auto listed = [&](char open, char close) {
    std::string text(1, open);
    for (const Ref each : graph.cells(value))
      text += (text.size() == 1 ? "" : " ") + render(graph, each, depth - 1);
    return text + close;
  };
  const Node& node = graph[value];
  switch (node.kind) {
    case Kind::None:
      return "None";
    case Kind::Bool:
      return node.integer == 1 ? "True" : "False";
    case Kind::Int:
      return std::to_string(node.integer);
    case Kind::Long:
      return format::pickle::decimal_of(graph.text(value)).value_or("long");
    case Kind::LongText:
      return std::string(graph.text(value));
    case Kind::Float:
      return format::pickle::float_text(node.number);
    case Kind::Text:
      return "'" + std::string(graph.text(value)) + "'";
    case Kind::Bytes:
      return "b'" + std::string(graph.text(value)) + "'";
    case Kind::List:
      return listed('[', ']');
    case Kind::Tuple:
      return listed('(', ')');
    case Kind::Set:
      return listed('{', '}');
    case Kind::Dict:
      return listed('<', '>');
    case Kind::Global:
      return std::string(graph.text(node.a)) + "." + std::string(graph.text(node.b));
    case Kind::Persistent:
      return "@" + render(graph, node.a, depth - 1);
    case Kind::Object:
      return render(graph, node.a, depth - 1) + render(graph, node.b, depth - 1) +
             (graph.cells(value).empty() ? "" : listed('+', '+')) +
             (node.c == format::pickle::kNone ? "" : "=" + render(graph, node.c, depth - 1));
  }
  return "?";
}

std::string run(std::string_view program) {
  const auto made = format::pickle::decode(format::as_bytes(program), Input::Whole);
  if (!made) {
    return std::string(name(made.error().code)) + " " + std::to_string(made.error().byte_offset) +
           ": " + made.error().what;
  }
  REQUIRE(made->has_value());
  CHECK((*made)->size_bytes <= program.size());
  return render((*made)->graph, (*made)->root);
}

template <class T>
std::string le(T value) {
  std::string bytes;
  format::append_le(bytes, value);
  return bytes;
}

struct Row {
  std::string program;
  const char* value;
};

void check_rows(std::span<const Row> rows) {
  for (const Row& row : rows) {
    INFO(format::quoted(row.program));
    CHECK(run(row.program) == row.value);
  }
}

TEST_CASE("operations that make constants and numbers") {
  const Row rows[] = {
      {"N.", "None"},
      {"\x88.", "True"},
      {"\x89.", "False"},
      {"I00\n.", "False"},
      {"I01\n.", "True"},
      {"I-7\n.", "-7"},
      {"I123456789012345678901\n.", "123456789012345678901"},
      {"K\xff.", "255"},
      {"M\x01\x02.", "513"},
      {"J\xfe\xff\xff\xff.", "-2"},
      {"L12L\n.", "12"},
      {"L-12\n.", "-12"},
      {"L123456789012345678901L\n.", "123456789012345678901"},
      {"\x8a\0."s, "0"},
      {"\x8a\x01\xff.", "-1"},
      {"\x8a\x02\xff\0."s, "255"},
      {"\x8a\x09\0\0\0\0\0\0\0\0\x40."s, "1180591620717411303424"},
      {"\x8a\x09\0\0\0\0\0\0\0\0\xc0."s, "-1180591620717411303424"},
      {"\x8b\x02\0\0\0\0\x80."s, "-32768"},
      {"F1.5\n.", "1.5"},
      {"Finf\n.", "Infinity"},
      {"F-inf\n.", "-Infinity"},
      {"Fnan\n.", "NaN"},
      {"F1e+300\n.", "1e+300"},
      {"G\x40\x04\0\0\0\0\0\0."s, "2.5"},
      {"G\x40\x08\0\0\0\0\0\0."s, "3.0"},
  };
  check_rows(rows);
}

TEST_CASE("operations that make texts") {
  const Row rows[] = {
      {"S'a\\n\\x41\\101\\'\\q'\n.", "'a\nAA'\\q'"},
      {"S\"it's\"\n.", "'it's'"},
      {"T\x02\0\0\0ab."s, "'ab'"},
      {"U\x02"
       "ab.",
       "'ab'"},
      {"V\\u20ac\\U0001f600 \xe9\n.", "'\xe2\x82\xac\xf0\x9f\x98\x80 \xc3\xa9'"},
      {"X\x02\0\0\0ab."s, "'ab'"},
      {"\x8c\x02"
       "ab.",
       "'ab'"},
      {"\x8d\x02\0\0\0\0\0\0\0ab."s, "'ab'"},
      {"B\x02\0\0\0ab."s, "b'ab'"},
      {"C\x02"
       "ab.",
       "b'ab'"},
      {"\x8e\x02\0\0\0\0\0\0\0ab."s, "b'ab'"},
      {"\x96\x02\0\0\0\0\0\0\0ab."s, "b'ab'"},
  };
  check_rows(rows);
}

TEST_CASE("operations that make and fill containers") {
  const Row rows[] = {
      {"].", "[]"},
      {").", "()"},
      {"}.", "<>"},
      {"\x8f.", "{}"},
      {"(K\1K\2l.", "[1 2]"},
      {"(K\1K\2t.", "(1 2)"},
      {"(t.", "()"},
      {"(K\1K\2d.", "<1 2>"},
      {"(K\1K\2\x91.", "{1 2}"},
      {"K\1\x85.", "(1)"},
      {"K\1K\2\x86.", "(1 2)"},
      {"K\1K\2K\3\x87.", "(1 2 3)"},
      {"]K\1a.", "[1]"},
      {"](K\1K\2e.", "[1 2]"},
      {"](e.", "[]"},
      {"}K\1K\2s.", "<1 2>"},
      {"}(K\1K\2K\1K\3u.", "<1 2 1 3>"},
      {"\x8f(K\1K\2\x90.", "{1 2}"},
  };
  check_rows(rows);
}

TEST_CASE("operations that name, and call, look nothing up and call nothing") {
  const Row rows[] = {
      {"cos\nsystem\n.", "os.system"},
      {"\x8c\2os\x8c\6system\x93.", "os.system"},
      {"cos\nsystem\nU\4true\x85R.", "os.system('true')"},
      {"cm\nC\n)\x81.", "m.C()"},
      {"cm\nC\n)}\x92.", "m.C()"},
      {"(K\1im\nC\n.", "m.C(1)"},
      {"(cm\nC\nK\1K\2o.", "m.C(1 2)"},
      {"(cm\nC\no.", "m.C()"},
      {"cm\nC\n)\x81}U\1aK\1sb.", "m.C()=<'a' 1>"},
      {"cm\nC\n)\x81K\1a.", "m.C()+1+"},
      {"cm\nC\n)\x81(K\1K\2u.", "m.C()+1 2+"},
      {"K\1)R.", "1()"},
      {"P0\n.", "@'0'"},
      {"U\1aQ.", "@'a'"},
  };
  check_rows(rows);
}

TEST_CASE("operations on the stack and the memo") {
  const Row rows[] = {
      {"K\1K\2"
       "0.",
       "1"},
      {"(K\1"
       "0.K\2.",
       "Corrupt 4: the pickle takes 1 values of a stack that has 0"},
      {"K\1(K\2"
       "1.",
       "1"},
      {"K\1(0.", "1"},
      {"K\1"
       "2\x86.",
       "(1 1)"},
      {"K\1p7\n0g7\n.", "1"},
      {"K\1q\2"
       "0h\2.",
       "1"},
      {"K\1r\2\0\0\0"
       "0j\2\0\0\0."s,
       "1"},
      {"K\1\x94K\2\x94h\0h\1\x86."s, "(1 2)"},
      {"]\x94h\0a."s, "[[[[[[[[...]]]]]]]]"},
      {"\x80\5\x95\2\0\0\0\0\0\0\0N."s, "None"},
      {"N.behind it", "None"},

  };
  check_rows(rows);
}

TEST_CASE("what no pickle is, or what is not for a reader of one file, is refused") {
  const std::string far = le(std::uint32_t{0x7fffffff});
  const Row rows[] = {
      {"", "cut off"},
      {"K", "cut off"},
      {"N", "cut off"},
      {"X\x05\0\0\0ab."s, "cut off"},
      {"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "cut off"},
      {"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "cut off"},
      {"I5", "cut off"},
      {"T\xff\xff\xff\xff.", "a text of -1 bytes"},
      {"\x8b\xff\xff\xff\xff.", "a number of -1 bytes"},
      {"Ix\n.", "the number \"x\""},
      {"L0x1\n.", "the number \"0x1\""},
      {"L\n.", "the number \"\""},
      {"F1,5\n.", "the floating-point number \"1,5\""},
      {"Sa\n.", "no Python literal"},
      {"S'a\n.", "no Python literal"},
      {"S'\\x4'\n.", "no Python literal"},
      {"S'\\'\n.", "no Python literal"},
      {"V\\u12\n.", "an escape that is none"},
      {"V\\Uffffffff\n.", "an escape that is none"},
      {".", "takes 1 values of a stack that has 0"},
      {"0.", "takes a value of a stack that has none"},
      {"1.", "goes back to a mark, and has none"},
      {"t.", "goes back to a mark, and has none"},
      {"2.", "takes 1 values"},
      {"K\1(\x85.", "takes 1 values of a stack that has 0"},
      {"K\1K\2a.", "fills a value that is no list"},
      {"K\1K\2K\3s.", "fills a value that is no list"},
      {"}K\1a.", "fills a value that is no list"},
      {"]K\1K\2s.", "fills a value that is no list"},
      {"(K\1e.", "fills a value of a stack that has none"},
      {"](K\1u.", "fills a value that is no list"},
      {"}(K\1u.", "a key has none"},
      {"(K\1d.", "a key has none"},
      {"cm\nC\n)\x81(K\1K\2uK\1a.", "both as a list and as a dict"},
      {"cm\nC\nK\1R.", "arguments that are no tuple"},
      {"cm\nC\n)K\1\x92.", "named arguments that are no dict"},
      {"(o.", "of no class"},
      {"K\1}b.", "gives a state to a value that is no object"},
      {"K\1U\1a\x93.", "names a class by values that are no texts"},
      {"h\0."s, "asks for the value number 0"},
      {"g1\n.", "asks for the value number 1"},
      {"Npx\n.", "under the number \"x\""},
      {"Nr" + far + ".", "Unsupported 1: the pickle keeps a value under the number 2147483647"},
      {"\x80\6N.", "Unsupported 0: the pickle is of protocol 6"},
      {"\x82\1.", "extension code"},
      {"\x83\1\1.", "extension code"},
      {"\x84\1\1\1\1.", "extension code"},
      {"\x97.", "buffers out of band"},
      {"N\x98.", "buffers out of band"},
      {"\xff.", "an operation of the number 255"},
      {"\0."s, "an operation of the number 0"},
  };
  for (const Row& row : rows) {
    INFO(format::quoted(row.program));
    const std::string said = run(row.program);
    CHECK_MESSAGE(has(said, row.value), said);
  }
}

TEST_CASE("pickles of Python, of every protocol, say what was pickled") {
  for (std::size_t protocol = 0; protocol < std::size(test::kPickles); ++protocol) {
    INFO(protocol);
    std::string program;
    const std::string_view hex = test::kPickles[protocol];
    for (std::size_t i = 0; i < hex.size(); i += 2)
      program += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    // Up to protocol 2 Python has no bytes and no sets of its own.
    const char* const bytes = protocol < 3 ? "_codecs.encode('xy' 'latin1')" : "b'xy'";
    const char* const set = protocol < 3   ? "__builtin__.set([3])"
                            : protocol < 4 ? "builtins.set([3])"
                                           : "{3}";
    const char* const ordered = "collections.OrderedDict()+'x' 1+";
    CHECK(run(program) == "<'a' [1 2.5 None] 'b' <'c' True> 1 ("s + bytes + " '\xc3\xbc') 'set' " +
                              set + " 'od' " + ordered +
                              " 'big' 1180591620717411303424 'same' [1 2.5 None]>");
    for (std::size_t size = 0; size < program.size(); ++size) {
      const auto bytes_there = format::as_bytes(std::string_view(program).substr(0, size));
      const auto head = format::pickle::decode(bytes_there, Input::Head);
      REQUIRE(head);
      CHECK_FALSE(head->has_value());
      CHECK_FALSE(format::pickle::decode(bytes_there, Input::Whole));
    }
  }
}

TEST_CASE("no operation takes more memory than a multiple of its bytes") {
  // What is counted is what a graph holds; the allocator's own is not.
  for (const std::string_view unit : {"]", "}", "(", "N2", "\x8f", "N\x85", "]\x94", "N\x85\x94",
                                      "NQ", "cm\n\n)R", "I1\n", "K\1"}) {
    std::string program = "N";
    while (program.size() < 100'000) program += unit;
    program += "N.";
    INFO(format::quoted(unit));
    const auto made = format::pickle::decode(format::as_bytes(program), Input::Whole);
    REQUIRE(made);
    const std::uint64_t node_bytes = (*made)->graph.size() * sizeof(Node);
    CHECK(node_bytes <= 64 * program.size());
    CHECK(sizeof(Node) == 24);
  }
}

TEST_CASE("numbers of any size are decimal") {
  using format::pickle::decimal_of;
  CHECK(decimal_of("") == "0");
  CHECK(decimal_of("\0"s) == "0");
  CHECK(decimal_of("\x80"s) == "-128");
  CHECK(decimal_of("\x7f"s) == "127");
  CHECK(decimal_of(std::string(16, '\xff')) == "-1");
  CHECK(decimal_of(std::string(15, '\0') + "\x40") == "85070591730234615865843651857942052864");
  CHECK(decimal_of(std::string(128, '\x7f')));
  CHECK_FALSE(decimal_of(std::string(129, '\x7f')));
}

TEST_CASE("any bytes are refused, or a graph") {
  const std::uint32_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  constexpr std::string_view kOps =
      "(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu}])GBC\n\x80\x81\x85\x86"
      "\x87\x88\x89\x8a\x8c\x8f\x90\x91\x92\x93\x94\x95 a1";
  for (int round = 0; round < 20'000; ++round) {
    std::string program;
    while (program.size() < 40) program += kOps[random() % kOps.size()];
    program += '.';
    const auto made = format::pickle::decode(format::as_bytes(program), Input::Whole);
    if (made) render((*made)->graph, (*made)->root, 4);
  }
}

}  // namespace
}  // namespace cairn
