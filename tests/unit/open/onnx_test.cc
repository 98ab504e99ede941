// ONNX models: messages by a table, every type as raw bytes and as numbers, the names of subgraphs,
// external data, and damage.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "cairn/edit.h"
#include "cairn/salvage.h"
#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/onnx/listed.h"
#include "format/onnx/model.h"
#include "tests/unit/format/v1_samples.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using format::onnx::Model;
using format::onnx::Storage;
using format::onnx::TensorRecord;
using test::field;
using test::golden;
using test::has;
using test::read_file;
using test::refusal;
using test::Sandbox;
using test::varints;
using test::write_file;

// ---- Messages by hand ---------------------------------------------------------------------------

std::string float_bytes(std::vector<float> values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// A TensorProto in front of its elements.
std::string head(std::string_view name, std::int64_t type, const std::vector<std::int64_t>& dims) {
  std::string message;
  for (const std::int64_t dim : dims) message += field(1, dim);
  return message + field(2, type) + field(8, name);
}

std::string pair(std::string_view key, std::string_view value) {
  return field(1, key) + field(2, value);
}

std::string graph(std::string_view contents) { return field(1, 11) + field(7, contents); }
std::string model(std::string_view tensor) { return graph(field(5, tensor)); }

// Where `at` was read from memory, which it must not leave.
format::onnx::WireReader reader_of(std::string_view file, bool whole = true) {
  return {file.size(), whole ? file.size() : std::uint64_t{1} << 62,
          [file](std::uint64_t offset, std::span<std::byte> out) -> format::Decoded<void> {
            REQUIRE(format::inside(offset, out.size(), file.size()));
            std::ranges::copy(format::as_bytes(file).subspan(offset, out.size()), out.begin());
            return {};
          }};
}

format::Decoded<Model> decode(std::string_view file, bool whole = true) {
  auto reader = reader_of(file, whole);
  return format::onnx::decode_model(reader, {whole});
}

// The elements of a Listed tensor, as they lie in memory.
format::Decoded<std::string> values_of(std::string_view file, const TensorRecord& tensor) {
  auto reader = reader_of(file);
  format::onnx::ListedValues values(reader, tensor);
  std::string bytes;
  while (true) {
    const auto block = values.next_block();
    if (!block) return block.error();
    if (block->empty()) return bytes;
    bytes += format::as_text(*block);
  }
}

std::vector<std::string> names_of(const Model& decoded) {
  std::vector<std::string> names;
  for (const TensorRecord& tensor : decoded.tensors) names.push_back(tensor.name);
  return names;
}

const std::string* value_of(const format::KeyValues& metadata, std::string_view key) {
  const auto found = std::ranges::find(metadata, key, &format::KeyValues::value_type::first);
  return found == metadata.end() ? nullptr : &found->second;
}

TEST_CASE("raw elements lie where they are, whatever the order of the fields") {
  const std::string elements = float_bytes({1, 2, 3, 4, 5, 6});
  const std::string usual = head("w", 1, {2, 3}) + field(9, elements);
  const std::string packed_dims =
      field(9, elements) + field(8, "w") + field(2, 1) + field(1, varints({2, 3}));
  const std::string twice = field(9, "gone") + field(2, 7) + usual;  // the last one counts
  for (const std::string& tensor : {usual, packed_dims, twice}) {
    const std::string file = model(tensor);
    const auto decoded = decode(file);
    REQUIRE_MESSAGE(decoded, decoded.error().what);
    REQUIRE(decoded->tensors.size() == 1);
    const TensorRecord& record = decoded->tensors[0];
    CHECK(record.name == "w");
    CHECK(record.type->dtype == DType::Float32);
    CHECK(record.shape == std::vector<std::int64_t>{2, 3});
    CHECK(record.storage == Storage::InPlace);
    CHECK(file.substr(record.bytes.offset_bytes, record.bytes.size_bytes) == elements);
  }
}

TEST_CASE("floats of one list lie where they are; other numbers are decoded") {
  struct Row {
    std::int64_t type;
    std::vector<std::int64_t> dims;
    std::string list;
    Storage storage;
    std::string bytes;
  };
  const std::string one = float_bytes({1});
  const std::string two = float_bytes({2});
  const Row rows[] = {
      {1, {2}, field(4, one + two), Storage::InPlace, one + two},
      {14, {1}, field(4, one + two), Storage::InPlace, one + two},
      {1, {2}, field(4, one) + field(4, two), Storage::Listed, one + two},
      {1, {2}, "\x25" + one + "\x25" + two, Storage::Listed, one + two},  // a field for each
      {1, {2}, "\x25" + one + field(4, "") + field(4, two), Storage::Listed, one + two},
      {3, {3}, field(5, varints({1, -1, -128})), Storage::Listed, "\x01\xff\x80"},
      {2, {2}, field(5, 255) + field(5, varints({7})), Storage::Listed, "\xff\x07"},
      {9, {2}, field(5, varints({0, 5})), Storage::Listed, std::string("\0\1", 2)},
      {6, {1}, field(5, varints({-2})), Storage::Listed, "\xfe\xff\xff\xff"},
      {7, {1}, field(7, varints({-2})), Storage::Listed, "\xfe\xff\xff\xff\xff\xff\xff\xff"},
      {13, {1}, field(11, varints({-1})), Storage::Listed, "\xff\xff\xff\xff\xff\xff\xff\xff"},
      {12, {1}, field(11, varints({0xffffffff})), Storage::Listed, "\xff\xff\xff\xff"},
      {10, {1}, field(5, varints({0x3c00})), Storage::Listed, std::string("\0\x3c", 2)},
      {22, {3}, field(5, varints({0xf1, 0x02})), Storage::Listed, "\xf1\x02"},
      {25, {5}, field(5, varints({0xe4, 0x01})), Storage::Listed, "\xe4\x01"},
      {27,
       {3},
       field(5, varints({0x3f, 0x01, 0x20})),
       Storage::Listed,
       std::string("\x7f\x00\x02", 3)},
      {8, {2}, field(6, "ab") + field(6, ""), Storage::Listed, "ab"},
  };
  for (const Row& row : rows) {
    INFO("type ", row.type);
    const std::string file = model(head("w", row.type, row.dims) + row.list);
    const auto decoded = decode(file);
    REQUIRE_MESSAGE(decoded, decoded.error().what);
    const TensorRecord& record = decoded->tensors.at(0);
    CHECK(record.storage == row.storage);
    if (record.storage == Storage::InPlace) {
      CHECK(file.substr(record.bytes.offset_bytes, record.bytes.size_bytes) == row.bytes);
      continue;
    }
    const auto values = values_of(file, record);
    REQUIRE_MESSAGE(values, values.error().what);
    if (row.type == 8) {
      CHECK(values->substr(0, 2) == std::string("\2\0", 2));
      CHECK(values->ends_with("ab"));
    } else {
      CHECK(*values == row.bytes);
    }
  }
}

TEST_CASE("a long list is decoded block by block") {
  std::vector<std::int64_t> numbers(100'000);
  std::string expected;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<std::int64_t>(i * 0x9e3779b97f4a7c15u);
    format::append_le(expected, numbers[i]);
  }
  const std::string file = model(head("w", 7, {100'000}) + field(7, varints(numbers)));
  const auto decoded = decode(file);
  REQUIRE(decoded);
  CHECK(*values_of(file, decoded->tensors.at(0)) == expected);
}

TEST_CASE("what contradicts itself is refused; where the rest is wanted, it is left out") {
  const std::string six = float_bytes({1, 2, 3, 4, 5, 6});
  struct Row {
    std::string tensor;
    const char* said;
    bool when_decoded = false;
  };
  const Row rows[] = {
      {head("w", 1, {2, 3}) + field(9, six.substr(1)), "take 24 bytes, and it has 23"},
      {head("w", 1, {2, 3}), "take 24 bytes, and it has 0"},
      {head("w", 1, {2, 3}) + field(4, six.substr(4)), "take 24 bytes, and it has 20"},
      {head("w", 1, {6}) + field(4, six) + field(9, six), "there twice"},
      {head("w", 1, {6}) + field(10, six), "a field that this type does not use"},
      {head("w", 7, {2}) + field(5, varints({1, 2})), "a field that this type does not use"},
      {head("w", 0, {0}), "has no type"},
      {head("w", 1, {-1}), "negative dimension"},
      {head("w", 1, {std::int64_t{1} << 62, 4}), "too large"},
      {head("w", 1, {0}) + field(3, ""), "one segment of several"},
      {head("w", 8, {2}) + field(6, "a"), "needs 2 strings, and it has 1"},
      {head("w", 8, {1}) + field(9, "a"), "strings cannot be raw"},
      {head("w", 7, {9}) + field(7, varints({1, 2})), "needs 9 numbers, and it has at most 2"},
      {head("w", 1, {2}) + field(14, 1), "does not say in which"},
      {head("w", 1, {2}) + field(14, 1) + field(13, pair("location", "f")) +
           field(13, pair("offset", "-1")),
       "no number: \"-1\""},
      {head("w", 1, {2}) + field(14, 1) + field(13, pair("location", "f")) +
           field(13, pair("length", "7")),
       "take 8 bytes, and it says that it has 7"},
      {head("w", 8, {2}) + field(14, 1) + field(13, pair("location", "f")),
       "cannot lie in another"},
      {head("w", 3, {1}) + field(5, varints({128})), "128, which is no value of INT8", true},
      {head("w", 2, {1}) + field(5, varints({-1})), "-1, which is no value of UINT8", true},
      {head("w", 12, {1}) + field(11, varints({1ll << 32})), "no value of UINT32", true},
      {head("w", 28, {1}) + field(5, varints({64})), "no value of FLOAT6E3M2", true},
      {head("w", 7, {2}) + field(7, varints({300})), "has 1 of the numbers", true},
      {head("w", 7, {2}) + field(7, varints({1, 2, 3})), "more than 2 numbers", true},
      {head("w", 7, {1}) + field(7, "\xff"), "a number is damaged", true},
  };
  for (const Row& row : rows) {
    INFO(row.said);
    const std::string file = model(row.tensor);
    const auto decoded = decode(file);
    if (row.when_decoded) {
      REQUIRE_MESSAGE(decoded, decoded.error().what);
      const auto values = values_of(file, decoded->tensors.at(0));
      REQUIRE_FALSE(values);
      CHECK(values.error().code == Code::Corrupt);
      CHECK_MESSAGE(has(values.error().what, row.said), values.error().what);
      continue;
    }
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error().code == Code::Corrupt);
    CHECK_MESSAGE(has(decoded.error().what, row.said), decoded.error().what);
    const auto rest = decode(graph(field(5, row.tensor) + field(5, head("v", 1, {0}))), false);
    REQUIRE_MESSAGE(rest, rest.error().what);
    CHECK(names_of(*rest) == std::vector<std::string>{"v"});
    REQUIRE(rest->left_out.size() == 1);
    CHECK(has(rest->left_out[0], row.said));
  }
}

TEST_CASE("what is no protobuf, or asks for too much, is refused") {
  std::string tower = field(5, head("w", 1, {0}));
  for (int depth = 0; depth < 40; ++depth) tower = field(1, field(5, field(6, tower)));
  std::string many = field(8, "w") + field(2, 1);
  for (int dim = 0; dim < 255; ++dim) many += field(1, 0);
  struct Row {
    std::string file;
    Code code;
    const char* said;
  };
  const Row rows[] = {
      {"x", Code::Corrupt, "a number is damaged"},
      {std::string("\0", 1), Code::Corrupt, "no field where one should begin"},
      {"\x3b", Code::Corrupt, "wire type 3"},
      {"\x3a\x05", Code::Corrupt, "field 7 has 5 bytes"},
      {"\x3a\xff\xff\xff\xff\xff\x7f", Code::Corrupt, "ends at 2 GiB"},
      {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Code::Corrupt, "a number is damaged"},
      {field(7, 1), Code::Corrupt, "another wire type"},
      {field(1, "x"), Code::Corrupt, "another wire type"},
      {graph(tower), Code::Unsupported, "nested deeper"},
      {model(many), Code::Corrupt, "more dimensions than the limit of 254"},
      {model(head(std::string(format::limits::kNameBytesMax + 1, 'n'), 1, {0})), Code::Unsupported,
       "a text of"},
      {graph(field(5, head("w", 1, {0})) + field(5, head("w", 1, {0}))), Code::Corrupt,
       "second initializer called \"w\""},
      {graph(field(1, field(5, field(5, head("", 1, {0})) + field(5, head("", 1, {0}))))),
       Code::Corrupt, "two tensors where one is allowed"},
  };
  for (const Row& row : rows) {
    INFO(row.said);
    const auto decoded = decode(row.file);
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error().code == row.code);
    CHECK_MESSAGE(has(decoded.error().what, row.said), decoded.error().what);
  }
}

TEST_CASE("long names of nodes do not fill the memory") {
  const std::string name(format::limits::kNameBytesMax / 2, 'n');
  std::string tensors;
  for (int i = 0; i < 300; ++i) tensors += field(5, head("w" + std::to_string(i), 1, {0}));
  const auto decoded = decode(graph(field(1, field(3, name) + field(5, field(6, tensors)))));
  REQUIRE_FALSE(decoded);
  CHECK(decoded.error().code == Code::Unsupported);
  CHECK(has(decoded.error().what, "the names of all tensors"));
}

TEST_CASE("unknown types and sparse tensors are left out, and said") {
  const std::string sparse = field(1, head("s", 1, {0})) + field(3, varints({4, 2}));
  const auto decoded = decode(graph(field(5, head("x", 99, {7})) + field(15, sparse)));
  REQUIRE(decoded);
  CHECK(decoded->tensors.empty());
  REQUIRE(decoded->left_out.size() == 2);
  CHECK(has(decoded->left_out[0], "tensor \"x\", [7], is left out: its type, 99, is not known"));
  CHECK(has(decoded->left_out[1], "tensor \"s\", [4,2], is left out: it is sparse"));
}

TEST_CASE("metadata is the model's own and what its writer set") {
  const std::string file =
      field(1, 11) + field(2, "p") + field(5, -1) + field(8, field(1, "ai.onnx.ml") + field(2, 3)) +
      field(8, field(2, 24)) + field(14, pair("k", "v")) + field(14, pair("k", "other")) +
      field(14, pair("onnx.producer_name", "q")) + field(14, pair("cairn.pinned", ""));
  const auto decoded = decode(file);
  REQUIRE_MESSAGE(decoded, decoded.error().what);
  CHECK(*value_of(decoded->metadata, "k") == "v");
  CHECK(*value_of(decoded->metadata, "onnx.producer_name") == "q");
  CHECK(*value_of(decoded->metadata, "onnx.ir_version") == "11");
  CHECK(*value_of(decoded->metadata, "onnx.model_version") == "-1");
  CHECK(*value_of(decoded->metadata, "onnx.opset_import") == "{\"ai.onnx.ml\": 3, \"\": 24}");
  CHECK(value_of(decoded->metadata, "cairn.pinned") == nullptr);
  CHECK(decoded->left_out.size() == 3);
}

TEST_CASE("every bit flip and every cut is refused, or gives tensors inside the file") {
  for (const char* name : {"onnx/raw.onnx", "onnx/listed.onnx", "onnx/graphs.onnx"}) {
    const std::string whole = read_file(golden(name));
    const auto before = decode(whole);
    REQUIRE_MESSAGE(before, before.error().what);
    const auto check = [](const std::string& file, const Model& decoded) {
      for (const TensorRecord& tensor : decoded.tensors) {
        if (tensor.storage == Storage::External) continue;
        CHECK(format::inside(tensor.bytes.offset_bytes, tensor.bytes.size_bytes, file.size()));
        if (tensor.storage == Storage::Listed) (void)values_of(file, tensor);
      }
    };
    std::size_t cuts = 0;  // between two fields of the outermost message
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const std::string cut = whole.substr(0, size);
      const auto decoded = decode(cut);
      if (decoded) check(cut, *decoded);
      if (decoded) ++cuts;
      const auto rest = decode(cut, false);
      CHECK((rest || rest.error().code == Code::Unsupported));
    }
    CHECK(cuts < 10);
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      std::string file = whole;
      file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
      const auto decoded = decode(file);
      if (decoded) check(file, *decoded);
      refused += decoded ? 0 : 1;
    }
    MESSAGE(name, ": ", 8 * whole.size(), " flips, ", refused, " refused; ", cuts,
            " cuts between fields are models");
    CHECK(refused > whole.size());
  }
}

// ---- Files --------------------------------------------------------------------------------------

TEST_CASE("what onnx wrote opens where it lies, in every access mode") {
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    const auto raw = Checkpoint::open(golden("onnx/raw.onnx"), {.access = access});
    const auto listed = Checkpoint::open(golden("onnx/listed.onnx"), {.access = access});
    const auto external = Checkpoint::open(golden("onnx/external.onnx"), {.access = access});
    REQUIRE_MESSAGE(raw, refusal(raw));
    REQUIRE_MESSAGE(listed, refusal(listed));
    REQUIRE_MESSAGE(external, refusal(external));
    CHECK(raw->format() == Format::Onnx);
    CHECK(name(raw->format()) == "onnx");
    CHECK(raw->prefix() == golden("onnx/raw"));
    CHECK(*raw->metadata("note") == "of the tests");
    CHECK(raw->tensor_count() == 28);
    CHECK(listed->tensor_count() == 27);
    CHECK(external->tensor_count() == 27);
    for (std::size_t i = 0; i < listed->tensor_count(); ++i) {
      const Tensor tensor = listed->tensor_at(i);
      INFO(tensor.name());
      const auto other = raw->tensor(tensor.name());
      REQUIRE(other);
      CHECK(tensor.spec()->opaque == other->spec()->opaque);
      CHECK(tensor.dtype() == other->dtype());
      CHECK(std::ranges::equal(*tensor.bytes(), *other->bytes()));
      CHECK(std::ranges::equal(*external->tensor(tensor.name())->bytes(), *other->bytes()));
    }
    const auto strings = raw->tensor("STRING")->strings();
    REQUIRE_MESSAGE(strings, refusal(strings));
    CHECK((*strings)[0] == "ab");
    CHECK((*strings)[1] == std::string_view("\xc3\xbc\0x", 4));
    CHECK(external->shard_count() == 2);
    CHECK(external->tensor("FLOAT")->shard() == "weights.bin");
    CHECK(raw->tensor("INT4")->spec()->opaque == OpaqueDType{"INT4", 4});
    CHECK(raw->tensor("FLOAT6E2M3")->bytes()->size() == 12);
    for (const auto* const checkpoint : {&raw, &listed, &external})
      CHECK((*checkpoint)->verify()->damage.empty());
  }
}

TEST_CASE("tensors of subgraphs, functions and constants have the names of where they are") {
  const auto checkpoint = Checkpoint::open(golden("onnx/graphs.onnx"));
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  const std::pair<const char*, float> all[] = {
      {"w", 1},
      {"outer/then_branch/w", 2},
      {"outer/else_branch/w", 3},
      {"outer/then_branch/inner/then_branch/w", 4},
      {"outer/then_branch/inner/else_branch/w", 5},
      {"outer/else_branch/v", 6},
      {"Loop_1/body/w", 7},
      {"c", 8},
      {"f/k", 9},
  };
  CHECK(checkpoint->tensor_count() == std::size(all));
  for (const auto& [name, number] : all) {
    const auto tensor = checkpoint->tensor(name);
    REQUIRE_MESSAGE(tensor, refusal(tensor));
    CHECK(*tensor->values<float>() == std::vector<float>(6, number));
  }
  REQUIRE(checkpoint->warnings().size() == 1);
  CHECK(has(checkpoint->warnings()[0], "tensor \"s\", [8], is left out: it is sparse"));
}

TEST_CASE("names that are there twice in subgraphs get a number") {
  const std::string w = field(5, head("w", 1, {0}));
  const std::string node = field(1, field(3, "n") + field(5, field(1, "a") + field(6, w)));
  const auto decoded = decode(graph(node + node + node + field(5, head("n/a/w#2", 1, {0}))));
  REQUIRE_MESSAGE(decoded, decoded.error().what);
  CHECK(names_of(*decoded) == std::vector<std::string>{"n/a/w", "n/a/w#2", "n/a/w#3", "n/a/w#4"});
}

std::string external(std::string_view location, std::string_view more = {}) {
  return model(head("w", 1, {2}) + field(14, 1) + field(13, pair("location", location)) +
               std::string(more));
}

TEST_CASE("external data lies in the model's directory, and is as long as its tensors") {
  Sandbox box;
  write_file(box / "w.bin", "1234" + float_bytes({5, 6}));
  const auto open = [&](std::string_view location, std::string_view more = {}) {
    write_file(box / "m.onnx", external(location, more));
    return Checkpoint::open(box / "m.onnx");
  };
  const std::string at_4 = field(13, pair("offset", "4"));
  for (const char* location : {"w.bin", "./w.bin"}) {
    const auto checkpoint = open(location, at_4 + field(13, pair("unknown", "key")));
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(*checkpoint->tensor("w")->values<float>() == std::vector<float>{5, 6});
  }
  CHECK(has(refusal(open("../w.bin")), "Unsafe: "));
  CHECK(has(refusal(open("/etc/passwd")), "Unsafe: "));
  for (const char* const outside :
       {"sub/../w.bin", "sub//w.bin", "sub/./w.bin", "sub/", "/sub/w.bin"})
    CHECK(has(refusal(open(outside)), "nor below it"));
  CHECK(has(refusal(open("a\nb")), "control characters"));
  CHECK(has(refusal(open("absent.bin")), "m.onnx names it"));
  CHECK(has(refusal(open("w.bin", field(13, pair("offset", "5")))), "end behind its 12 bytes"));
  CHECK(has(refusal(open("w.bin", field(13, pair("offset", "18446744073709551615")))),
            "end behind its 12 bytes"));
  std::filesystem::create_symlink("/etc/passwd", box / "link.bin");
  CHECK(has(refusal(open("link.bin")), "Unsafe: "));

  // The model's own file, whose first bytes are no tensor's.
  const auto own = open("m.onnx");
  REQUIRE_MESSAGE(own, refusal(own));
  CHECK(own->shard_count() == 1);
}

TEST_CASE("external data may lie in a folder, to which no link leads") {
  Sandbox box;
  std::filesystem::create_directories(box / "a/b");
  std::filesystem::create_directory_symlink("a", box / "link");
  std::filesystem::create_symlink("/etc/passwd", box / "a/leaves.bin");
  write_file(box / "a/b/w.bin", float_bytes({5, 6}));
  write_file(box / "w.bin", float_bytes({7, 8}));
  const auto open = [&](std::string_view location) {
    write_file(box / "m.onnx", external(location));
    return Checkpoint::open(box / "m.onnx");
  };
  for (const char* const location : {"a/b/w.bin", "./a/b/w.bin"}) {
    const auto checkpoint = open(location);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(*checkpoint->tensor("w")->values<float>() == std::vector<float>{5, 6});
    CHECK(checkpoint->tensor("w")->shard() == "a/b/w.bin");
    const auto done =
        convert(box / "m.onnx", Format::Cairn, {.output = box / "c", .replace = true});
    REQUIRE_MESSAGE(done, refusal(done));
    CHECK(has(refusal(import_index(box / "m.onnx")), "Unsupported: "));
    CHECK(has(refusal(import_index(box / "m.onnx")), "a/b/w.bin\" lies in a folder"));
    CHECK_FALSE(std::filesystem::exists(box / "m.onnx.cairn"));
  }
  CHECK(has(refusal(open("a/c/w.bin")), "m.onnx names it"));
  CHECK(has(refusal(open("a/b")), "Unsafe: "));
  CHECK(has(refusal(open("link/b/w.bin")), "Unsafe: "));
  CHECK(has(refusal(open("w.bin/w.bin")), "Unsafe: "));
  CHECK(has(refusal(open("a/leaves.bin")), "Unsafe: "));
}

TEST_CASE("a model of several files is converted, and not copied, moved or removed") {
  Sandbox box;
  for (const char* name : {"external.onnx", "weights.bin"})
    write_file(box / name, read_file(golden(std::string("onnx/") + name)));
  REQUIRE(convert(box / "external.onnx", Format::Cairn, {.output = box / "c"}));
  const auto converted = Checkpoint::open(box / "c");
  const auto source = Checkpoint::open(box / "external.onnx");
  REQUIRE(converted);
  for (std::size_t i = 0; i < source->tensor_count(); ++i) {
    const Tensor tensor = source->tensor_at(i);
    CHECK(std::ranges::equal(*converted->tensor(tensor.name())->bytes(), *tensor.bytes()));
  }
  CHECK(has(refusal(copy_checkpoint(box / "external.onnx", {.output = box / "d"})),
            "one of 2 files"));
  CHECK(has(refusal(remove_checkpoint(box / "external.onnx")), "one of 2 files"));
  write_file(box / "raw.onnx", read_file(golden("onnx/raw.onnx")));
  REQUIRE(copy_checkpoint(box / "raw.onnx", {.output = box / "copy.onnx"}));
  CHECK((*Checkpoint::open(box / "copy.onnx")).tensor_count() == 28);
  CHECK(has(refusal(convert(box / "c", Format::Onnx, {.output = box / "o"})),
            "does not write ONNX models"));
}

TEST_CASE("external data gets no hard link, with which onnx would refuse it") {
  Sandbox box;
  for (const char* name : {"external.onnx", "weights.bin"})
    write_file(box / name, read_file(golden(std::string("onnx/") + name)));
  const std::filesystem::path sources[] = {box / "external.onnx"};
  REQUIRE(merge(sources, {.output = box / "m"}));
  CHECK(std::filesystem::hard_link_count(box / "weights.bin") == 1);
  CHECK((*Checkpoint::open(box / "m")).tensor_count() == 27);
  CHECK(has(refusal(merge(sources, {.output = box / "n", .link = Link::Hard})), "Unsupported: "));
  // An index of TensorFlow's, beside the model and elsewhere, of the model alone and by its record.
  for (const bool imported : {false, true}) {
    if (imported) REQUIRE(import_index(box / "external.onnx"));
    TransferOptions options{.output = {}, .link = Link::Hard, .replace = true, .allow_lossy = true};
    for (const char* output : {"", "elsewhere"}) {
      options.output = *output == '\0' ? std::filesystem::path() : box / output;
      options.link = Link::Hard;
      CHECK(has(refusal(export_index(box / "external.onnx", Format::TensorFlow, options)),
                "Unsupported: "));
      options.link = Link::Auto;
      CHECK(refusal(export_index(box / "external.onnx", Format::TensorFlow, options)) == "opened");
      CHECK(std::filesystem::hard_link_count(box / "weights.bin") == 1);
    }
  }
  for (const Format target : {Format::Cairn, Format::Safetensors, Format::Npz})
    REQUIRE(convert(box / "external.onnx", target, {.output = box / "out", .allow_lossy = true}));
  CHECK(std::filesystem::hard_link_count(box / "weights.bin") == 1);
}

TEST_CASE("what is whole of a damaged model is salvaged") {
  Sandbox box;
  const std::string first = head("a", 1, {2}) + field(9, float_bytes({1, 2}));
  const std::string file =
      graph(field(5, first) + field(5, head("b", 1, {2}) + field(9, "12345678")));
  write_file(box / "m.onnx", std::string_view(file).substr(0, file.size() - 3));
  CHECK(has(refusal(Checkpoint::open(box / "m.onnx")), "truncated"));
  const auto salvaged = salvage(box / "m.onnx", {.output = box / "s"});
  REQUIRE_MESSAGE(salvaged, refusal(salvaged));
  const auto rest = Checkpoint::open(box / "s");
  REQUIRE(rest);
  CHECK(rest->tensor_count() == 1);
  CHECK(*rest->tensor("a")->values<float>() == std::vector<float>{1, 2});
}

TEST_CASE("a file of another kind is said to be that") {
  Sandbox box;
  write_file(box / "m.onnx", std::string("version https:") + "//git-lfs and more");
  CHECK(has(refusal(Checkpoint::open(box / "m.onnx")), "Git LFS pointer"));
  write_file(box / "m.onnx", "<!doctype html>");
  CHECK(has(refusal(Checkpoint::open(box / "m.onnx")), "HTML page"));
}

}  // namespace
}  // namespace cairn
