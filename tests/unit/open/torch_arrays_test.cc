// NumPy's arrays and numbers in files of PyTorch, as pickles of every protocol have them.

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "format/pickle/text.h"
#include "tests/unit/open/torch_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using namespace std::string_literals;
using test::archive;
using test::has;
using test::refusal;
using test::Sandbox;
using test::text;
using test::tuple;
using test::write_file;

// Opcodes of a dtype: dtype("f4", False, True) with the state (3, "<", …).
std::string dtype(const std::string& code, const char* order = "<") {
  return "cnumpy\ndtype\n(" + text(code) + "\x89\x88tR(K\3" + text(order) +
         "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK"s + '\0' + "tb";
}
// Bytes as protocol 3 has them, and as protocol 2 does: text, each byte a character.
std::string bytes(const std::string& data) {
  std::string program = "B";
  format::append_le(program, static_cast<std::uint32_t>(data.size()));
  return program + data;
}
std::string encoded(const std::string& data) {
  std::string utf8;
  for (const char each : data) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte < 0x80) utf8 += each;
    if (byte >= 0x80)
      (utf8 += static_cast<char>(0xc0 | byte >> 6)) += static_cast<char>(0x80 | (byte & 63));
  }
  return "c_codecs\nencode\n" + text(utf8) + text("latin1") + "\x86R";
}

struct Array {
  std::string module = "numpy.core.multiarray";
  std::string dtype_program = dtype("f4");
  std::vector<std::int64_t> shape = {2, 2};
  bool column_major = false;
  std::string data = bytes("aaaabbbbccccdddd");
  std::string type = "cnumpy\nndarray\n";
};
std::string reconstruct(const Array& array) {
  return "c" + array.module + "\n_reconstruct\n" + array.type + "K"s + '\0' + "\x85" + bytes("b") +
         "\x87R(K\1" + tuple(array.shape) + array.dtype_program +
         (array.column_major ? "\x88" : "\x89") + array.data + "tb";
}
std::string from_buffer(const std::string& data, const std::vector<std::int64_t>& shape,
                        const char* order) {
  return "cnumpy._core.numeric\n_frombuffer\n(" + bytes(data) + dtype("f4") + tuple(shape) +
         text(order) + "tR";
}
std::string number(const std::string& code, const std::string& data, const char* order = "<") {
  return "cnumpy.core.multiarray\nscalar\n" + dtype(code, order) + bytes(data) + "\x86R";
}

std::string file_of(const std::string& value) {
  return archive({{"data.pkl", "\x80\3}" + text("a") + value + "s."}});
}

// The value of the array that is all that is in a file.
std::string value_of(const std::string& program, std::size_t shards) {
  Sandbox box;
  write_file(box / "m.pt", file_of(program));
  const auto checkpoint = Checkpoint::open(box / "m.pt");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->warnings().empty());
  CHECK(checkpoint->shard_count() == shards);
  const auto value = test::value_of(*checkpoint->tensor("a"));
  REQUIRE_MESSAGE(value, refusal(value));
  return value->bytes;
}

TEST_CASE("NumPy arrays are tensors, in place where the pickle has their bytes as they are") {
  CHECK(value_of(reconstruct({}), 1) == "aaaabbbbccccdddd");
  CHECK(value_of(reconstruct({.module = "numpy._core.multiarray"}), 1) == "aaaabbbbccccdddd");
  CHECK(value_of(reconstruct({.column_major = true}), 1) == "aaaaccccbbbbdddd");
  CHECK(value_of(reconstruct({.dtype_program = dtype("f4", ">")}), 1) == "aaaabbbbccccdddd");
  CHECK(value_of(reconstruct({.dtype_program = dtype("i2", ">"), .data = bytes("abcdefgh")}), 1) ==
        "badcfehg");
  CHECK(value_of(from_buffer("aaaabbbbccccdddd", {2, 2}, "C"), 1) == "aaaabbbbccccdddd");
  CHECK(value_of(from_buffer("aaaabbbbccccdddd", {2, 2}, "F"), 1) == "aaaaccccbbbbdddd");
  CHECK(value_of(reconstruct({.shape = {0, 3}, .data = bytes("")}), 1).empty());
  CHECK(value_of(reconstruct({.shape = {0}, .data = "c__builtin__\nbytes\n)R"}), 1).empty());
  CHECK(value_of(reconstruct({.shape = {}, .data = bytes("wxyz")}), 1) == "wxyz");
  const std::string low_bytes = "\x00\x7f\x80\xff\xc2\xc3\x01\x02"s;
  CHECK(value_of(reconstruct({.shape = {2}, .data = encoded(low_bytes)}), 2) == low_bytes);
  CHECK(value_of(reconstruct({.dtype_program = "cnumpy\ndtype\n(cml_dtypes\nbfloat16\n\x89\x88tR",
                              .shape = {2},
                              .data = bytes("abcd")}),
                 1) == "abcd");
}

TEST_CASE("arrays of the same bytes share them") {
  Sandbox box;
  std::string data = encoded(std::string(1000, '\xff')) + "q\1";
  std::string list =
      "](" + reconstruct({.dtype_program = dtype("u1"), .shape = {1000}, .data = data});
  for (int i = 0; i < 50; ++i)
    list += reconstruct({.dtype_program = dtype("u1"), .shape = {1000}, .data = "h\1"});
  write_file(box / "m.pt", file_of(list + "e"));
  const auto checkpoint = Checkpoint::open(box / "m.pt");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  REQUIRE(checkpoint->tensor_count() == 51);
  CHECK(checkpoint->shard_at(1).size_bytes == 1000);
}

TEST_CASE("NumPy numbers are metadata") {
  const std::pair<std::string, const char*> rows[] = {
      {number("b1", "\1"), "true"},
      {number("i1", "\xfe"), "-2"},
      {number("i2", "\xff\xfe", ">"), "-2"},
      {number("i8", "\xff\xff\xff\xff\xff\xff\xff\x7f"), "9223372036854775807"},
      {number("u8", "\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615"},
      {number("u2", "\1\2"), "513"},
      {number("f2", "\x00\x3e"s), "1.5"},
      {number("f2", "\x01\x80"s), "-5.960464477539063e-08"},
      {number("f2", "\x00\xfc"s), "-Infinity"},
      {number("f4", "\x00\x00\x20\x40"s), "2.5"},
      {number("f8", "\x00\x00\x00\x00\x00\x00\xe0\x3f"s), "0.5"},
      {"cnumpy._core.multiarray\nscalar\n" + dtype("f4") + encoded("\x00\x00\x80\xbf"s) + "\x86R",
       "-1.0"},
  };
  for (const auto& [program, said] : rows) {
    Sandbox box;
    write_file(box / "m.pt", file_of("](" + program + reconstruct({}) + "e"));
    const auto checkpoint = Checkpoint::open(box / "m.pt");
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->metadata("a.0") == said);
  }
}

TEST_CASE("arrays that no checkpoint can hold are left out by name, and broken ones refused") {
  const std::pair<std::string, const char*> rows[] = {
      {reconstruct({.dtype_program = dtype("O8", "|"), .data = "](NNNNe"}), "of Python objects"},
      {reconstruct({.dtype_program = dtype("U4")}), "of the dtype \"U4\""},
      {reconstruct({.dtype_program = dtype("V2")}), "of the dtype \"V2\""},
      {reconstruct({.type = "cnumpy\nmatrix\n"}), "of a class of its own"},
      {reconstruct({.data = "](NNe"}), "whose bytes are not in the pickle"},
      {reconstruct({.data = "c_codecs\nencode\n" + text("abc") + text("rot13") + "\x86R"}),
       "whose bytes are not in the pickle"},
      {number("c8", "aaaabbbb"), "of the dtype \"complex64\""},
      {number("f4", "abc"), "has 3 bytes, and not 4"},
      {number("S3", "abc"), "of the dtype \"S3\""},
      {number("f4", std::string(100, 'x')), "too many bytes"},
  };
  for (const auto& [program, said] : rows) {
    Sandbox box;
    write_file(box / "m.pt", file_of("](" + program + reconstruct({}) + "e"));
    const auto checkpoint = Checkpoint::open(box / "m.pt");
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->tensor_count() == 1);
    REQUIRE(checkpoint->warnings().size() == 1);
    CHECK_MESSAGE(has(checkpoint->warnings()[0], said), checkpoint->warnings()[0]);
    CHECK(has(checkpoint->warnings()[0], "\"a.0\" is left out"));
  }
  const std::pair<std::string, const char*> broken[] = {
      {reconstruct({.shape = {3, 2}}), "it has 16 bytes, and its shape and dtype take 24"},
      {reconstruct({.shape = {1}}), "it has 16 bytes, and its shape and dtype take 4"},
      {reconstruct({.shape = {-1}}), "no number of 0 and more"},
      {reconstruct({.shape = {1ll << 40, 1ll << 40}}), "its shape is too large"},
      {reconstruct({.dtype_program = "K\1"}), "its dtype is none of NumPy's"},
      {"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n\x85R", "has no five parts"},
      {"cnumpy.core.numeric\n_frombuffer\n)R", "_frombuffer has 0 arguments"},
      {reconstruct({.shape = {1},
                    .data = "c_codecs\nencode\n" + text("ab\xc4\x80") + text("latin1") + "\x86R"}),
       "none of Latin-1"},
  };
  for (const auto& [program, said] : broken) {
    Sandbox box;
    write_file(box / "m.pt", file_of(program));
    const std::string refused = refusal(Checkpoint::open(box / "m.pt"));
    CHECK_MESSAGE(has(refused, said), refused << " not: " << said);
    CHECK(has(refused, "tensor \"a\""));
  }
}

TEST_CASE("a real file's array and number are read") {
  const auto checkpoint = Checkpoint::open(test::golden("pytorch/python_objects.pt"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  const auto values = checkpoint->tensor("array")->values<std::int64_t>();
  REQUIRE_MESSAGE(values, refusal(values));
  CHECK(*values == std::vector<std::int64_t>{0, 1, 2});
  CHECK(checkpoint->metadata("numpy") == "0.5");
}

TEST_CASE("bytes as text are counted, and other characters told") {
  using format::pickle::latin1_bytes;
  CHECK(latin1_bytes("") == 0);
  CHECK(latin1_bytes("a\xc2\x80\xc3\xbf") == 3);
  for (const char* const text : {"\xc4\x80", "\xc2", "\xc2z", "\x80", "\xe2\x82\xac"})
    CHECK_FALSE(latin1_bytes(text));
}

}  // namespace
}  // namespace cairn
