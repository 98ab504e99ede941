// Convert with other names and other dtypes.

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "format/digest.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/object_graph.h"
#include "lib/read/open_checkpoint.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::Value;
using test::Values;
using test::fs::path;

constexpr Format kTargets[] = {Format::Cairn, Format::TensorFlow, Format::Safetensors};

const Values kValues{{"state.a", test::floats({1, 2, 3})},
                     {"state.b", test::floats({-0.0f, 1e-45f, 3e38f, 65519, 65520})},
                     {"step", test::int_scalar(10)}};

TransferOptions to(const path& output) {
  TransferOptions options;
  options.output = output;
  return options;
}

// The tensors of the output, and what was said; the conversion must be done.
struct Converted {
  Values values;
  Transfer transfer;
};

Converted converted(const path& source, Format target, const TransferOptions& options) {
  const auto done = convert(source, target, options);
  REQUIRE_MESSAGE(done, refusal(done));
  const auto checkpoint = Checkpoint::open(done->prefix);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  const auto whole = checkpoint->verify();
  REQUIRE_MESSAGE(whole, refusal(whole));
  const auto values = test::values_of(*checkpoint);
  REQUIRE_MESSAGE(values, refusal(values));
  return {*values, *done};
}

std::vector<std::string> names_of(const Values& values) {
  std::vector<std::string> names;
  for (const auto& [name, value] : values) names.push_back(name);
  return names;
}

// The bits of each value of 16 or 32 bits.
template <class Bits>
std::vector<Bits> bits_of(const Value& value) {
  std::vector<Bits> bits(value.bytes.size() / sizeof(Bits));
  std::memcpy(bits.data(), value.bytes.data(), value.bytes.size());
  return bits;
}

// An object-based checkpoint: variables by key, with their full names.
struct Variable {
  std::string key;
  std::string full_name;
};
void save_objects_to(const path& prefix, const std::vector<Variable>& variables) {
  ObjectGraph graph;
  graph.nodes.resize(1 + variables.size());
  std::vector<TensorSpec> specs{{std::string(kObjectGraphName), DType::String, {}}};
  for (std::size_t i = 0; i < variables.size(); ++i) {
    graph.nodes[0].children.push_back({std::to_string(i), i + 1});
    graph.nodes[i + 1].attributes.push_back(
        {"VARIABLE_VALUE", variables[i].full_name, variables[i].key});
    specs.push_back({variables[i].key, DType::Int32, {}});
  }
  auto writer = Writer::create(prefix, specs);
  REQUIRE(writer);
  for (std::size_t i = 0; i < variables.size(); ++i) {
    const auto value = test::int_scalar(static_cast<std::int32_t>(i));
    REQUIRE(writer->write(variables[i].key, format::as_bytes(value.bytes)));
  }
  const std::string encoded = format::tensorflow::encode_object_graph(graph);
  const std::string_view text = encoded;
  REQUIRE(writer->write_strings(kObjectGraphName, std::span(&text, 1)));
  REQUIRE(writer->commit());
}

// ---- Names

TEST_CASE("convert removes a prefix, then applies patterns, and keeps the values") {
  Sandbox box;
  test::save(box / "m", {kValues});
  for (const Format target : kTargets) {
    INFO(name(target));
    TransferOptions options = to(box / name(target));
    options.renaming.strip_prefix = "state.";
    options.renaming.patterns = {{"^(.)$", "z.$1"}, {"^z", "y"}};
    const auto [values, transfer] = converted(box / "m", target, options);
    CHECK(values == Values{{"step", kValues.at("step")},
                           {"y.a", kValues.at("state.a")},
                           {"y.b", kValues.at("state.b")}});
    REQUIRE(transfer.renamed.size() == 2);
    CHECK(transfer.renamed[0].from == "state.a");
    CHECK(transfer.renamed[0].to == "y.a");
  }
}

TEST_CASE("names can be exchanged, and tied weights stay tied") {
  Sandbox box;
  Values values = kValues;
  values["tied"] = values.at("state.a");
  test::save(box / "m", {values, {}, {{"tied", "state.a"}}});
  TransferOptions options = to(box / "c");
  options.renaming.names = {{"state.a", "state.b"}, {"state.b", "state.a"}, {"tied", "0"}};
  const auto done = converted(box / "m", Format::Cairn, options);
  CHECK(done.values == Values{{"0", values.at("state.a")},
                              {"state.a", values.at("state.b")},
                              {"state.b", values.at("state.a")},
                              {"step", values.at("step")}});
  const auto checkpoint = Checkpoint::open(box / "c");
  CHECK(checkpoint->tensor("0")->offset_bytes() == checkpoint->tensor("state.b")->offset_bytes());
}

TEST_CASE("two tensors with one name are refused with both old names, and nothing is written") {
  Sandbox box;
  Values values = kValues;
  values["a"] = test::floats({7});
  test::save(box / "m", {values});
  test::fs::create_directory(box / "out");
  for (const Format target : kTargets) {
    TransferOptions options = to(box / "out/m");
    options.renaming.strip_prefix = "state.";
    const std::string said = refusal(convert(box / "m", target, options));
    CHECK(has(said, "Exists: "));
    CHECK(has(said, "tensors \"a\" and \"state.a\" would both get the name \"a\""));
    CHECK(test::fs::is_empty(box / "out"));
  }
}

TEST_CASE("new names are given to the tensors that are chosen by their old ones") {
  Sandbox box;
  Values values = kValues;
  values["a"] = test::floats({7});
  test::save(box / "m", {values});
  TransferOptions options = to(box / "c");
  options.tensors = {"state.a", "step"};
  options.renaming.strip_prefix = "state.";
  CHECK(converted(box / "m", Format::Cairn, options).values ==
        Values{{"a", kValues.at("state.a")}, {"step", kValues.at("step")}});
  options = to(box / "d");
  options.tensors = {"step"};
  options.renaming.strip_prefix = "state.";
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)),
            "NotFound: " + (box / "m").string() + ": no tensor's name begins with \"state.\""));
  options.renaming = {{}, {{"state", "x"}}, {}};
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)), "no tensor's name matches"));
  options.renaming = {{{"state.a", "x"}}, {}, {}};
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)), "no tensor \"state.a\""));
  options.renaming = {{{"step", ""}}, {}, {}};
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)), "would get an empty name"));
}

TEST_CASE("rename removes a prefix too") {
  Sandbox box;
  test::save(box / "m", {kValues});
  const auto done =
      rename_tensors(box / "m", {{{"state.a", "kept.a"}}, {}, "state."}, to(box / "n"));
  REQUIRE_MESSAGE(done, refusal(done));
  CHECK(names_of(*test::values_at(box / "n")) == std::vector<std::string>{"b", "kept.a", "step"});
}

TEST_CASE("the variables of an object-based checkpoint are written under their object paths") {
  const path golden = test::golden("tensorflow/tf2_manager/tf_ckpts/ckpt-6");
  Values wanted;
  const Values stored = *test::values_at(golden);
  for (const auto& [key, value] : stored) {
    const std::size_t end = key.find("/.ATTRIBUTES/VARIABLE_VALUE");
    if (end != std::string::npos) wanted[key.substr(0, end)] = value;
  }
  REQUIRE(wanted.size() == 6);
  REQUIRE(wanted.contains("net/dense/kernel"));
  for (const Format target : kTargets) {
    INFO(name(target));
    Sandbox box;
    TransferOptions options = to(box / "m-6");
    options.names = TensorNames::Path;
    const auto [values, transfer] = converted(golden, target, options);
    CHECK(values == wanted);
    CHECK(transfer.renamed.size() == 6);
    CHECK(transfer.not_nameable == std::vector<std::string>{std::string(kObjectGraphName)});
  }
}

TEST_CASE("full names are used where they are there and name one variable") {
  Sandbox box;
  save_objects_to(box / "m", {{"model/w/.ATTRIBUTES/VARIABLE_VALUE", "dense/kernel"},
                              {"model/b/.ATTRIBUTES/VARIABLE_VALUE", "Variable"},
                              {"model/c/.ATTRIBUTES/VARIABLE_VALUE", "Variable"},
                              {"model/d/.ATTRIBUTES/VARIABLE_VALUE", ""},
                              {"model/t/.ATTRIBUTES/table-keys", "table"}});
  TransferOptions options = to(box / "c");
  options.names = TensorNames::Variable;
  const Values values = converted(box / "m", Format::Safetensors, options).values;
  CHECK(names_of(values) == std::vector<std::string>{"dense/kernel", "model/b", "model/c",
                                                     "model/d", "model/t/.ATTRIBUTES/table-keys"});
  CHECK(values.at("dense/kernel") == test::int_scalar(0));
  CHECK(values.at("model/d") == test::int_scalar(3));
}

TEST_CASE("a full name that is another variable's path is refused with both keys") {
  Sandbox box;
  save_objects_to(box / "m",
                  {{"a/.ATTRIBUTES/VARIABLE_VALUE", "b"}, {"b/.ATTRIBUTES/VARIABLE_VALUE", ""}});
  TransferOptions options = to(box / "c");
  options.names = TensorNames::Variable;
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)),
            "tensors \"a/.ATTRIBUTES/VARIABLE_VALUE\" and \"b/.ATTRIBUTES/VARIABLE_VALUE\" would "
            "both get the name \"b\""));
}

TEST_CASE("no object graph is written that has an old name") {
  Sandbox box;
  save_objects_to(box / "m", {{"a/.ATTRIBUTES/VARIABLE_VALUE", ""}});
  TransferOptions options = to(box / "c");
  options.renaming.strip_prefix = "a/";
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)), "object graph"));
  options.tensors = {"a/.ATTRIBUTES/VARIABLE_VALUE"};
  CHECK(names_of(converted(box / "m", Format::Cairn, options).values) ==
        std::vector<std::string>{".ATTRIBUTES/VARIABLE_VALUE"});
  // A safetensors file holds no graph, so none stays behind.
  options = to(box / "s");
  options.renaming.strip_prefix = "a/";
  options.allow_lossy = true;
  CHECK(names_of(converted(box / "m", Format::Safetensors, options).values) ==
        std::vector<std::string>{".ATTRIBUTES/VARIABLE_VALUE"});
}

TEST_CASE("without an object graph there are only the stored names") {
  Sandbox box;
  test::save(box / "m", {kValues});
  TransferOptions options = to(box / "c");
  options.names = TensorNames::Path;
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)), "has no object graph"));
}

TEST_CASE("what a target cannot hold under its new name is listed under its old one") {
  Sandbox box;
  test::save(box / "m", {kValues});
  TransferOptions options = to(box / "s");
  options.renaming.names = {{"step", "\xff"}};
  CHECK(has(refusal(convert(box / "m", Format::Safetensors, options)),
            "cannot hold tensor \"step\""));
  options.allow_lossy = true;
  const auto done = converted(box / "m", Format::Safetensors, options);
  CHECK(done.transfer.not_nameable == std::vector<std::string>{"step"});
}

// ---- Values

TEST_CASE("a cast changes the tensors of one dtype, in every target, and counts what is lost") {
  Sandbox box;
  test::save(box / "m", {kValues});
  for (const Format target : kTargets) {
    INFO(name(target));
    TransferOptions options = to(box / name(target));
    options.casts = {{DType::Float32, DType::Float16}};
    const auto [values, transfer] = converted(box / "m", target, options);
    CHECK(values.at("step") == kValues.at("step"));
    CHECK(values.at("state.a").dtype == DType::Float16);
    CHECK(values.at("state.a").shape == std::vector<std::int64_t>{3});
    CHECK(bits_of<std::uint16_t>(values.at("state.a")) ==
          std::vector<std::uint16_t>{0x3c00, 0x4000, 0x4200});
    CHECK(bits_of<std::uint16_t>(values.at("state.b")) ==
          std::vector<std::uint16_t>{0x8000, 0, 0x7c00, 0x7bff, 0x7c00});
    REQUIRE(transfer.casts.size() == 1);
    CHECK(transfer.casts[0].tensor_count == 2);
    CHECK(transfer.casts[0].value_count == 8);
    CHECK(transfer.casts[0].became_infinite == 2);
    CHECK(transfer.casts[0].became_zero == 1);
    CHECK(has(transfer.warnings.back(), "2 became infinite and 1 became zero"));
    CHECK(transfer.payload_bytes_copied == 20);
  }
}

TEST_CASE("the sums of a cast are those of the new bytes") {
  Sandbox box;
  Values values = kValues;
  std::vector<float> many(3'000'001);  // several blocks and chunks
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = std::sin(static_cast<float>(i));
  values["many"] = test::floats(many);
  test::save(box / "m", {values});
  TransferOptions options = to(box / "c");
  options.casts = {{DType::Float32, DType::Bfloat16}};
  const auto done = converted(box / "m", Format::Cairn, options);
  const auto checkpoint = Checkpoint::open(box / "c");
  const auto& index = internal::OpenCheckpoint::of(*checkpoint).index();
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const auto tensor = index.tensor(i);
    const std::string& bytes = done.values.at(std::string(tensor.name)).bytes;
    CHECK(tensor.content_hash == format::xxh3_128(format::as_bytes(bytes)));
    CHECK(tensor.span.crc32c == format::crc32c(format::as_bytes(bytes)));
  }
  const auto bits = bits_of<std::uint16_t>(done.values.at("many"));
  REQUIRE(bits.size() == many.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < many.size(); ++i) {
    float back = 0;
    const std::uint32_t wide = std::uint32_t{bits[i]} << 16;
    std::memcpy(&back, &wide, sizeof back);
    if (std::abs(back - many[i]) > std::abs(many[i]) / 256) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("several casts act on the dtypes of the source, and larger dtypes hold every value") {
  Sandbox box;
  test::save(box / "m", {kValues});
  TransferOptions options = to(box / "half");
  options.casts = {{DType::Float32, DType::Bfloat16}, {DType::Bfloat16, DType::Float64}};
  const auto done = converted(box / "m", Format::Cairn, options);
  CHECK(done.values.at("state.a").dtype == DType::Bfloat16);  // not cast again
  CHECK(done.transfer.casts[1].tensor_count == 0);
  CHECK(has(done.transfer.warnings.front(), "no tensor is bfloat16"));
  options = to(box / "wide");
  options.casts = {{DType::Float32, DType::Float64}};
  CHECK(converted(box / "m", Format::Cairn, options).transfer.payload_bytes_copied == 4 + 8 * 8);
  options = to(box / "back");
  options.casts = {{DType::Float64, DType::Float32}};
  CHECK(converted(box / "wide", Format::Cairn, options).values == kValues);
}

TEST_CASE("tied weights stay tied when they are cast") {
  Sandbox box;
  Values values = kValues;
  values["tied"] = values.at("state.a");
  test::save(box / "m", {values, {}, {{"tied", "state.a"}}});
  TransferOptions options = to(box / "c");
  options.casts = {{DType::Float32, DType::Bfloat16}};
  const auto done = converted(box / "m", Format::Cairn, options);
  CHECK(done.values.at("tied").bytes == done.values.at("state.a").bytes);
  const auto checkpoint = Checkpoint::open(box / "c");
  CHECK(checkpoint->tensor("tied")->offset_bytes() ==
        checkpoint->tensor("state.a")->offset_bytes());
}

TEST_CASE("casts that are none are refused") {
  Sandbox box;
  test::save(box / "m", {kValues});
  TransferOptions options = to(box / "c");
  options.casts = {{DType::Float32, DType::Float32}};
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)), "both are the same dtype"));
  options.casts = {{DType::Int32, DType::Float32}};
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)), "Unsupported: "));
  options.casts = {{DType::Float32, DType::Float16}, {DType::Float32, DType::Bfloat16}};
  CHECK(has(refusal(convert(box / "m", Format::Cairn, options)), "cast twice"));
  CHECK_FALSE(test::fs::exists(box / "c.cairn"));
}

// ---- How tensors are read

// Partitioned and big-endian tensors come in pieces that they are cut into: also in the middle.
TEST_CASE("a tensor that is put together from rows is the same, however it is cut") {
  Sandbox box;
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{},
                                              {3'000'000},
                                              {1, 3'000'000},
                                              {2, 3, 500'000},
                                              {2, 2, 1'500'000},
                                              {1, 1, 3'000'000, 1},
                                              {1'000'000, 3},
                                              {0, 5}}) {
    std::uint64_t count = 1;
    for (const std::int64_t length : shape) count *= static_cast<std::uint64_t>(length);
    std::string big(count * 4, '\0');
    std::string little(count * 4, '\0');
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = static_cast<std::uint32_t>(i * 2654435761u);
      for (std::size_t byte = 0; byte < 4; ++byte) {
        little[4 * i + byte] = static_cast<char>(value >> (8 * byte));
        big[4 * i + 3 - byte] = little[4 * i + byte];
      }
    }
    format::tensorflow::BundleFacts bundle;
    bundle.header.big_endian = true;
    format::TensorFacts tensor;
    tensor.name = "x";
    tensor.dtype = DType::Int32;
    tensor.shape = shape;
    tensor.span = {0, 0, big.size(), format::crc32c(format::as_bytes(big))};
    bundle.tensors.push_back(tensor);
    test::write_file(box / "b.index",
                     *format::tensorflow::encode_bundle(bundle.header, bundle.tensors));
    test::write_file(box / "b.data-00000-of-00001", big);
    TransferOptions options = to(box / "c");
    options.replace = true;
    const Values values = converted(box / "b", Format::Cairn, options).values;
    CHECK(values.at("x").shape == shape);
    CHECK((values.at("x").bytes == little));
  }
}

TEST_CASE("the progress of convert never falls, and ends at the bytes that are written") {
  Sandbox box;
  Values values = kValues;
  values["many"] = test::floats(std::vector<float>(5'000'000));
  test::save(box / "m", {values});
  for (const Format target : kTargets) {
    TransferOptions options = to(box / name(target));
    options.casts = {{DType::Float32, DType::Float16}};
    Progress last;
    options.exec.progress = [&](const Progress& progress) {
      CHECK(progress.done_bytes >= last.done_bytes);
      CHECK(progress.done_bytes <= progress.total_bytes);
      last = progress;
    };
    const auto done = converted(box / "m", target, options);
    CHECK(last.done_bytes == done.transfer.payload_bytes_copied);
    CHECK(last.total_bytes == last.done_bytes);
  }
}

}  // namespace
}  // namespace cairn
