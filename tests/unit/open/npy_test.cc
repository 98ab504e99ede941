// NumPy arrays: the header as numpy writes it, by a table, and files opened where they lie.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "cairn/salvage.h"
#include "format/le.h"
#include "format/numpy/array.h"
#include "format/plain_facts.h"
#include "tests/plain_facts.h"
#include "tests/unit/open/npy_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using format::TensorFacts;
using test::has;
using test::npy;
using test::npy_of;
using test::refusal;
using test::Sandbox;
using test::write_file;

format::Decoded<TensorFacts> decode(std::string_view file) {
  using namespace format::numpy;
  const auto bytes = format::as_bytes(file);
  const auto offset = data_offset_bytes(bytes.first(std::min(bytes.size(), kPreambleBytes)));
  const auto plain = scan_array(bytes, bytes.size());
  if (!offset) {
    CHECK_FALSE(plain);
    return offset.error();
  }
  auto tensor =
      decode_array(bytes.first(std::min<std::size_t>(bytes.size(), *offset)), bytes.size());
  if (plain) {
    REQUIRE_MESSAGE(tensor, tensor.error().what);
    CHECK(tests::is_plain(*tensor));
    CHECK(plain->dtype == tensor->dtype);
    CHECK(std::ranges::equal(plain->shape.dims(), tensor->shape));
    CHECK(plain->data_offset_bytes == tensor->span.offset_bytes);
  }
  return tensor;
}

TEST_CASE("an array as numpy writes it is scanned, another is left to the decoder") {
  const auto is_scanned = [](const std::string& file, std::size_t cut = 0) {
    const auto bytes = format::as_bytes(file);
    return format::numpy::scan_array(bytes.first(bytes.size() - cut), bytes.size()).has_value();
  };
  for (const char* const shape : {"()", "(6,)", "(2, 3)", "(2,3)", "(6, 1, 1, 1, 1, 1, 1, 1)"}) {
    INFO(shape);
    const bool is_one = std::string_view(shape) == "()";
    CHECK(is_scanned(npy_of("<f4", shape, false, std::string(is_one ? 4 : 24, 'x'))));
  }
  CHECK(is_scanned(npy_of("<f8", "(0, 4)", false, "")));
  CHECK(is_scanned(npy_of("|u1", "(6,)", false, "123456"), 6));  // elements are not needed
  CHECK_FALSE(is_scanned(npy_of("|u1", "(6,)", false, "123456"), 7));
  CHECK_FALSE(is_scanned(npy_of("|u1", "(5,)", false, "123456")));
  CHECK_FALSE(is_scanned(npy_of("|u1", "(6)", false, "123456")));
  CHECK_FALSE(is_scanned(npy_of("|u1", "(-6,)", false, "123456")));
  CHECK_FALSE(is_scanned(npy_of("|u1", "(6, 1, 1, 1, 1, 1, 1, 1, 1)", false, "123456")));
  CHECK_FALSE(is_scanned(npy_of("|u1", "(2, 3)", true, "123456")));
  CHECK_FALSE(is_scanned(npy_of(">i2", "(3,)", false, "123456")));
  CHECK_FALSE(is_scanned(npy_of("|V2", "(3,)", false, "123456")));
  CHECK_FALSE(is_scanned(npy_of("|S6", "(1,)", false, "123456")));
  CHECK_FALSE(
      is_scanned(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (6,), 'x': 1}", "123456")));
  CHECK_FALSE(is_scanned("\x93NUMPY\x01"));
}

TEST_CASE("numpy's types are the dtypes that they are, or opaque under their own name") {
  struct Row {
    const char* descr;
    std::size_t bytes;
    DType dtype;
    const char* opaque = "";
    bool other_byte_order = false;
  };
  const Row rows[] = {{"<f4", 4, DType::Float32},
                      {"=f4", 4, DType::Float32},
                      {"f4", 4, DType::Float32},
                      {">f4", 4, DType::Float32, "", true},
                      {"<f2", 2, DType::Float16},
                      {"|f1", 1, DType::Float8E5M2},
                      {"<f8", 8, DType::Float64},
                      {"|i1", 1, DType::Int8},
                      {">i1", 1, DType::Int8},
                      {">i8", 8, DType::Int64, "", true},
                      {"|u1", 1, DType::Uint8},
                      {"<u4", 4, DType::Uint32},
                      {"|b1", 1, DType::Bool},
                      {"?", 1, DType::Bool},
                      {"<c8", 8, DType::Complex64},
                      {">c16", 16, DType::Complex128, "", true},
                      {"|V2", 2, DType::Bfloat16},
                      {"|V1", 1, DType::Opaque, "V1"},
                      {"|S5", 5, DType::Opaque, "S5"},
                      {"<U2", 8, DType::Opaque, "U2"},
                      {"<M8[ns]", 8, DType::Opaque, "M8[ns]"},
                      {"<f16", 16, DType::Opaque, "f16"}};
  for (const Row& row : rows) {
    INFO(row.descr);
    const auto tensor = decode(npy_of(row.descr, "(3,)", false, std::string(3 * row.bytes, 'x')));
    REQUIRE_MESSAGE(tensor, tensor.error().what);
    CHECK(tensor->dtype == row.dtype);
    CHECK(tensor->opaque_dtype == row.opaque);
    CHECK(tensor->opaque_bits == (row.dtype == DType::Opaque ? 8 * row.bytes : 0));
    CHECK(tensor->other_byte_order == row.other_byte_order);
    CHECK(tensor->shape == std::vector<std::int64_t>{3});
    CHECK(tensor->span.offset_bytes % 64 == 0);
    CHECK(tensor->span.size_bytes == 3 * row.bytes);
  }
}

TEST_CASE("bytes without a type have the dtype that the caller says, where they have its size") {
  struct Row {
    const char* descr;
    std::size_t bytes;
    DType said;
    DType dtype;
  };
  const Row rows[] = {{"|V1", 1, DType::Float8E4M3FN, DType::Float8E4M3FN},
                      {"<V2", 2, DType::Int16, DType::Int16},
                      {">V2", 2, DType::Int16, DType::Int16},
                      {"|V2", 2, DType::Float8E4M3FN, DType::Bfloat16},
                      {"|V1", 1, DType::Bfloat16, DType::Opaque},
                      {"|V3", 3, DType::Float8E4M3FN, DType::Opaque},
                      {"|V1", 1, DType::String, DType::Opaque},
                      {"<f1", 1, DType::Float8E4M3FN, DType::Float8E5M2},
                      {"|u1", 1, DType::Float8E4M3FN, DType::Uint8},
                      {"|S1", 1, DType::Float8E4M3FN, DType::Opaque}};
  for (const Row& row : rows) {
    INFO(row.descr << " " << name(row.said));
    const std::string file = npy_of(row.descr, "(3,)", false, std::string(3 * row.bytes, 'x'));
    const auto bytes = format::as_bytes(file);
    const auto tensor = format::numpy::decode_array(bytes.first(bytes.size() - 3 * row.bytes),
                                                    bytes.size(), row.said);
    REQUIRE_MESSAGE(tensor, tensor.error().what);
    CHECK(tensor->dtype == row.dtype);
    CHECK_FALSE(tensor->other_byte_order);
  }
}

TEST_CASE("headers of every form that writers use are read") {
  const std::string four(4, 'x');
  for (const char* header : {"{'descr': '<i4', 'fortran_order': False, 'shape': (), }",
                             "{\"shape\":(1,),\"fortran_order\":True,\"descr\":\"<i4\"}",
                             "{'descr': '<i4', 'fortran_order': False, 'shape': (1L,), }",
                             "{'descr': '<i4', 'fortran_order': True, 'shape': (1, 1, )}"})
    CHECK_MESSAGE(decode(npy(header, four)), header);
  for (const char version : {'\2', '\3'}) {
    const std::string dictionary = "{'descr': '<i4', 'fortran_order': False, 'shape': ()}";
    std::string file("\x93NUMPY", 6);
    file += version + std::string(1, '\0') + static_cast<char>(dictionary.size()) +
            std::string(3, '\0') + dictionary + four;
    CHECK(decode(file));
  }
  const auto columns = decode(npy_of("<i2", "(2, 3)", true, std::string(12, 'x')));
  REQUIRE(columns);
  CHECK(columns->strides == std::vector<std::int64_t>{1, 2});
  CHECK(decode(npy_of("<i2", "(6,)", true, std::string(12, 'x')))->strides.empty());
}

TEST_CASE("what is no array, or none that a checkpoint can hold, is refused in a sentence") {
  struct Row {
    std::string file;
    Code code;
    const char* said;
  };
  const std::string four(4, 'x');
  const Row rows[] = {
      {"NUMPY and more", Code::Corrupt, "not a .npy file"},
      {std::string("\x93NUMPY\x01\0", 8), Code::Corrupt, "ends in its header"},
      {std::string("\x93NUMPY\x04\0\1\0\0\0", 12), Code::Unsupported, "version 4.0"},
      {std::string("\x93NUMPY\x02\0\0\0\0\x7f", 12), Code::Unsupported, "limit of 65536"},
      {npy("{'descr': '<i4', 'shape': (1,)}", four), Code::Corrupt, "the form that numpy writes"},
      {npy("{'descr': '<i4', 'descr': '<i4', 'fortran_order': False, 'shape': (1,)}", four),
       Code::Corrupt, "the form that numpy writes"},
      {npy_of("<i4", "(1)", false, four), Code::Corrupt, "the form that numpy writes"},
      {npy_of("<i4", "(-1,)", false, four), Code::Corrupt, "the form that numpy writes"},
      {npy_of("<i4", "(2,)", false, four), Code::Corrupt, "truncated"},
      {npy_of("<i4", "(0,)", false, four), Code::Corrupt, "too long"},
      {npy_of("<i4", "(4611686018427387904, 4)", false, four), Code::Corrupt, "too large"},
      {npy_of("|O", "(1,)", false, four), Code::Unsupported, "Python objects"},
      {npy("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,)}", four),
       Code::Unsupported, "structures"},
      {npy_of("<z9", "(1,)", false, four), Code::Unsupported, "z9"},
      {npy_of(">U1", "(1,)", false, four), Code::Unsupported, "save array.astype(\"<U1\")"},
      {npy_of("|S8192", "(1, 1)", true, std::string(8192, 'x')), Code::Unsupported, "8191"},
      {npy_of("|S4294967296", "(0,)", false, ""), Code::Unsupported, "4 GiB"},
  };
  for (const Row& row : rows) {
    INFO(row.said);
    const auto tensor = decode(row.file);
    REQUIRE_FALSE(tensor);
    CHECK(tensor.error().code == row.code);
    CHECK_MESSAGE(has(tensor.error().what, row.said), tensor.error().what);
  }
}

TEST_CASE("cut, lengthened and flipped files are refused or are arrays of the same bytes") {
  const std::string whole = npy_of("<i4", "(2, 3)", true, std::string(24, 'x'));
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(decode(whole.substr(0, size)));
  CHECK_FALSE(decode(whole + "x"));
  for (std::size_t bit = 0; bit < 8 * (whole.size() - 24); ++bit) {
    std::string file = whole;
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
    const auto tensor = decode(file);
    if (tensor) CHECK(tensor->span.offset_bytes + tensor->span.size_bytes == file.size());
  }
}

TEST_CASE("an .npy file opens where it lies, by its name or by its contents") {
  Sandbox box;
  const std::array<float, 6> values{1, 2, 3, 4, 5, 6};
  std::string elements(24, '\0');
  std::memcpy(elements.data(), values.data(), elements.size());
  write_file(box / "w.npy", npy_of("<f4", "(2, 3)", false, elements));
  write_file(box / "columns.npy", npy_of("<f4", "(3, 2)", true, elements));
  write_file(box / "other", npy_of("<f4", "(6,)", false, elements));
  const auto rows = Checkpoint::open(box / "w.npy");
  REQUIRE_MESSAGE(rows, refusal(rows));
  CHECK(rows->format() == Format::Npy);
  CHECK(name(rows->format()) == "npy");
  CHECK(rows->prefix() == box / "w");
  CHECK_FALSE(rows->step());
  const auto view = rows->tensor("w")->as<float>();
  REQUIRE_MESSAGE(view, refusal(view));
  CHECK(std::ranges::equal(*view, values));
  const auto columns = Checkpoint::open(box / "columns.npy");
  REQUIRE_MESSAGE(columns, refusal(columns));
  CHECK(has(refusal(columns->tensor("columns")->as<float>()), "not stored row-major"));
  CHECK(*columns->tensor("columns")->values<float>() == std::vector<float>{1, 4, 2, 5, 3, 6});
  REQUIRE(Checkpoint::open(box / "other"));
  CHECK((*Checkpoint::open(box / "other")).tensor("other").has_value());
  CHECK(rows->verify()->unchecked_bytes == 24);
}

TEST_CASE("an element of .npy that is wider than bits say is a block") {
  Sandbox box;
  const std::string text = std::string(9000, 'a') + std::string(9000, 'b');
  write_file(box / "w.npy", npy_of("|S9000", "(2,)", false, text));
  const auto opened = Checkpoint::open(box / "w.npy");
  REQUIRE_MESSAGE(opened, refusal(opened));
  const auto tensor = opened->tensor("w");
  CHECK(tensor->dtype_name() == "S9000");
  CHECK(tensor->size_bytes() == 18'000);
  REQUIRE(import_index(box / "w.npy"));
  CHECK((*Checkpoint::open(box / "w.npy")).verify()->unchecked_bytes == 0);
}

TEST_CASE("an .npy file is converted, written, copied and moved") {
  Sandbox box;
  write_file(box / "w.npy", npy_of(">i2", "(2, 2)", true, std::string("\0\1\0\2\0\3\0\4", 8)));
  REQUIRE(convert(box / "w.npy", Format::Cairn, {.output = box / "c"}));
  CHECK(*(*Checkpoint::open(box / "c")).tensor("w")->values<std::int16_t>() ==
        std::vector<std::int16_t>{1, 3, 2, 4});
  REQUIRE(convert(box / "c", Format::Npy, {.output = box / "d"}));
  CHECK(*(*Checkpoint::open(box / "d.npy")).tensor("d")->values<std::int16_t>() ==
        std::vector<std::int16_t>{1, 3, 2, 4});
  const auto copied = copy_checkpoint(box / "w.npy", {.output = box / "sub/v"});
  REQUIRE_MESSAGE(copied, refusal(copied));
  CHECK(copied->prefix == box / "sub/v.npy");
  CHECK((*Checkpoint::open(box / "sub/v.npy")).tensor("v").has_value());
  CHECK(has(refusal(Checkpoint::open(box / "none.npy")), "NotFound: "));
  write_file(box / "cut.npy", npy_of("<i4", "(9,)", false, "x"));
  CHECK(has(refusal(Checkpoint::open(box / "cut.npy")), "truncated"));
}

}  // namespace
}  // namespace cairn
