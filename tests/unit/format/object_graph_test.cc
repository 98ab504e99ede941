#include "cairn/object_graph.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/saver.h"
#include "format/limits.h"
#include "format/tensorflow/object_graph.h"
#include "format/tensorflow/varint.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using format::tensorflow::build_object_graph;
using format::tensorflow::decode_object_graph;
using format::tensorflow::encode_object_graph;
using format::tensorflow::parse_object_path;
using format::tensorflow::unescaped_object_name;
using test::from_hex;
using test::refusal;

// root ─model→ 1 ─w→ 2, ─again→ 1 (a cycle), root ─w→ 2, root ─opt→ 3, which keeps 4 for 2.
ObjectGraph sample() {
  ObjectGraph graph;
  graph.nodes.resize(6);
  graph.nodes[0].children = {{"model", 1}, {"w", 2}, {"opt", 3}, {"table", 5}};
  graph.nodes[0].has_checkpoint_values = true;
  graph.nodes[1].children = {{"w", 2}, {"again", 1}, {"a/b", 5}};
  graph.nodes[2].attributes = {{"VARIABLE_VALUE", "dense/kernel", "stored/here"},
                               {"py_state", "", "state/here"}};
  graph.nodes[3].slots = {{2, "m", 4}};
  graph.nodes[3].registered_saver = {{"Saver", "object"}};
  graph.nodes[4].attributes = {{"VARIABLE_VALUE", "dense/kernel/m", "slot/here"}};
  graph.nodes[4].has_checkpoint_values = false;
  graph.nodes[5].attributes = {{"table-keys", "", "keys"}, {"table-values", "twin", "values"}};
  return graph;
}

ObjectGraph decoded(const std::string& message) {
  const auto graph = decode_object_graph(message);
  REQUIRE(graph);
  return *graph;
}

std::string key(const ObjectGraph& graph, std::string_view path) {
  const auto found = tensor_key(graph, path);
  return found ? *found : std::string(name(found.error().code));
}

// A graph that is a chain of `depth` objects with a variable at its end.
std::string chain(std::size_t depth) {
  std::string path = "0";
  for (std::size_t i = 1; i < depth; ++i) path += "/0";
  const std::string_view paths[] = {path};
  const auto objects = object_keys(paths);
  REQUIRE_OK(objects);
  return objects->graph;
}

TEST_CASE("names are escaped as TensorFlow escapes them, and back") {
  const std::pair<const char*, const char*> table[] = {
      {"a/b", "a.Sb"}, {"a.b", "a..b"}, {".", ".."},       {"a.Sb", "a..Sb"},
      {"", ""},        {"/", ".S"},     {"./", "...S"},    {"/.", ".S.."},
      {"S", "S"},      {"..", "...."},  {"é/\n", "é.S\n"}, {"a//b", "a.S.Sb"}};
  for (const auto& [plain, escaped] : table) {
    INFO(escaped);
    CHECK(escaped_object_name(plain) == escaped);
    CHECK(unescaped_object_name(escaped) == plain);
  }
}

TEST_CASE("a lone dot in a path stands for itself") {
  for (const char* name : {"a.b", ".a", "a.", ".ATTRIBUTES"}) {
    CHECK(unescaped_object_name(name) == name);
  }
}

TEST_CASE("a path is parted into names and an attribute") {
  struct Row {
    std::string path;
    std::vector<std::string> names;
    std::string attribute;
  };
  const Row rows[] = {{"", {}, ""},
                      {"a", {"a"}, ""},
                      {"a/b.Sc", {"a", "b/c"}, ""},
                      {"d/", {"d", ""}, ""},
                      {"/", {"", ""}, ""},
                      {"a/.ATTRIBUTES/py_state", {"a"}, "py_state"},
                      {".ATTRIBUTES/x", {}, "x"},
                      {"/.ATTRIBUTES/x", {}, "x"},
                      {"d//.ATTRIBUTES/VARIABLE_VALUE", {"d", ""}, "VARIABLE_VALUE"},
                      {"a/.ATTRIBUTES", {"a", ".ATTRIBUTES"}, ""},
                      {"a..ATTRIBUTES/x", {"a.ATTRIBUTES", "x"}, ""}};
  for (const Row& row : rows) {
    INFO(row.path);
    const auto parsed = parse_object_path(row.path);
    CHECK(parsed.names == row.names);
    CHECK(parsed.attribute == row.attribute);
  }
}

TEST_CASE("a graph that is encoded decodes to itself") {
  CHECK(decoded(encode_object_graph(sample())) == sample());
}

TEST_CASE("the bytes of a graph are those that TensorFlow writes") {
  ObjectGraph graph;
  graph.nodes.resize(2);
  graph.nodes[0].children = {{"x", 1}};
  graph.nodes[0].has_checkpoint_values = true;
  graph.nodes[1].attributes = {{"V", "f", "k"}};
  graph.nodes[1].has_checkpoint_values = false;
  CHECK(encode_object_graph(graph) == from_hex("0a 0b 0a 05 08 01 12 01 78 2a 02 08 01"
                                               "0a 0d 12 09 0a 01 56 12 01 66 1a 01 6b 2a 00"));
}

TEST_CASE("the graph that TensorFlow wrote is read, and encodes to the same bytes") {
  const Checkpoint checkpoint =
      test::open_checkpoint(test::golden("tensorflow/tf2_manager/tf_ckpts/ckpt-6"));
  const auto graph = read_object_graph(checkpoint);
  REQUIRE_OK(graph);
  CHECK(graph->nodes.size() == 10);
  const auto stored = test::tensor_of(checkpoint, kObjectGraphName).strings();
  REQUIRE_OK(stored);
  CHECK(encode_object_graph(*graph) == (*stored)[0]);
  CHECK(key(*graph, "net/layers/1") == "net/layers/1/.ATTRIBUTES/VARIABLE_VALUE");
}

TEST_CASE("unknown fields are skipped, of every wire type") {
  const std::string unknown =
      from_hex("f0 01 05 f1 01 0000000000000000 f2 01 01 61 f5 01 00000000");
  const std::string node = from_hex("2a 00") + unknown;
  const std::string graph = std::string("\x0a") + static_cast<char>(node.size()) + node + unknown;
  CHECK(decoded(graph).nodes.size() == 1);
}

TEST_CASE("what is no graph is refused") {
  const std::pair<const char*, const char*> table[] = {
      {"", "without a root"},
      {"0a", ""},
      {"0a 05 0a", ""},
      {"08 01", "another wire type"},
      {"0a 02 08 01", "another wire type"},
      {"0a 04 0a 02 08 01", "its child \"\" is node 1, but the number of nodes is 1"},
      {"0a 0d 0a 0b 08 ff ff ff ff ff ff ff ff ff 01", "negative"},
      {"0a 08 0a 06 08 80 80 80 80 10",
       "number of nodes is 1"},  // 2^32, which 32 bits would cut to 0
      {"0a 06 1a 04 08 00 18 07", "is node 7, but the number of nodes is 1"},
      {"0a 06 1a 04 08 07 18 00", "is node 7, but the number of nodes is 1"},
      {"0a 01 03", ""}};  // a group
  for (const auto& [hex, said] : table) {
    INFO(hex);
    const auto graph = decode_object_graph(from_hex(hex));
    REQUIRE_FALSE(graph);
    CHECK(graph.error().code == Code::Corrupt);
    CHECK(graph.error().what.find(said) != std::string::npos);
  }
}

TEST_CASE("every truncation and every flipped bit of a graph is refused or read within bounds") {
  const std::string whole = encode_object_graph(sample());
  const auto use = [](const std::string& bytes) {
    const auto graph = decode_object_graph(bytes);
    if (!graph) return;
    for (const char* path : {"model/w", "w/.OPTIMIZER_SLOT/opt/m", "dense/kernel", ""})
      static_cast<void>(tensor_key(*graph, path));
    CHECK(decode_object_graph(encode_object_graph(*graph)));
  };
  for (std::size_t length = 0; length < whole.size(); ++length) use(whole.substr(0, length));
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    use(damaged);
  }
}

TEST_CASE("a graph of more parts than are read is refused") {
  // A node of `count` unknown fields, which are counted and take no memory.
  const auto fields = [](std::size_t count) {
    std::string node;
    for (std::size_t i = 0; i < count; ++i) node.append("\x30\x00", 2);
    std::string message = "\x0a";
    format::tensorflow::append_varint(message, node.size());
    return message + node;
  };
  const std::size_t most = format::limits::kObjectGraphPartsMax - 1;  // beside the node itself
  CHECK(decoded(fields(most)).nodes.size() == 1);
  const auto graph = decode_object_graph(fields(most + 1));
  REQUIRE_FALSE(graph);
  CHECK(graph.error().what.find("too many nodes") != std::string::npos);
  const std::string too_long(format::limits::kObjectGraphBytesMax + 1, 'x');
  const auto unread = decode_object_graph(too_long);
  REQUIRE_FALSE(unread);
  CHECK(unread.error().code == Code::Unsupported);
}

TEST_CASE("any path that reaches an object finds its tensor, by the key that the graph says") {
  const ObjectGraph graph = sample();
  const std::pair<const char*, const char*> table[] = {
      {"w", "stored/here"},
      {"model/w", "stored/here"},
      {"model/again/again/w", "stored/here"},
      {"model/w/.ATTRIBUTES/VARIABLE_VALUE", "stored/here"},
      {"model/w/.ATTRIBUTES/py_state", "state/here"},
      {"dense/kernel", "stored/here"},
      {"dense/kernel/m", "slot/here"},
      {"w/.OPTIMIZER_SLOT/opt/m", "slot/here"},
      {"model/w/.OPTIMIZER_SLOT/opt/m", "slot/here"},
      {"w/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE", "slot/here"},
      {"table/.ATTRIBUTES/table-keys", "keys"},
      {"model/a.Sb/.ATTRIBUTES/table-values", "values"},
      {"table", "Invalid"},
      {"", "NotFound"},
      {"model", "NotFound"},
      {"model/w/x", "NotFound"},
      {"w/.OPTIMIZER_SLOT/opt/v", "NotFound"},
      {"w/.OPTIMIZER_SLOT/m", "NotFound"},
      {"w/.OPTIMIZER_SLOT", "NotFound"},
      {".OPTIMIZER_SLOT", "NotFound"},
      {"model/a/b", "NotFound"}};
  for (const auto& [path, want] : table) {
    INFO(path);
    CHECK(key(graph, path) == want);
  }
}

TEST_CASE("what may mean several tensors is refused with their names") {
  ObjectGraph graph = sample();
  CHECK(refusal(tensor_key(graph, "table"), {"\"keys\"", "\"values\""}) == Code::Invalid);
  graph.nodes[4].attributes[0].full_name = "dense/kernel";
  CHECK(refusal(tensor_key(graph, "dense/kernel"), {"stored/here", "slot/here"}) == Code::Invalid);
  graph.nodes[5].attributes[1].full_name = "w";  // as the object path of another
  CHECK(refusal(tensor_key(graph, "w"), {"stored/here", "values"}) == Code::Invalid);
}

TEST_CASE("keys are composed as TensorFlow composes them, and nodes come breadth-first") {
  const std::string_view paths[] = {"model/layers/0/w", "b", "model/a.Sb", "d/", "b/.ATTRIBUTES/s"};
  const auto built = build_object_graph(paths);
  REQUIRE(built);
  CHECK(built->keys == std::vector<std::string>{
                           "model/layers/0/w/.ATTRIBUTES/VARIABLE_VALUE",
                           "b/.ATTRIBUTES/VARIABLE_VALUE", "model/a.Sb/.ATTRIBUTES/VARIABLE_VALUE",
                           "d//.ATTRIBUTES/VARIABLE_VALUE", "b/.ATTRIBUTES/s"});
  const auto& nodes = built->graph.nodes;
  REQUIRE(nodes.size() == 9);
  CHECK(nodes[0].children == std::vector<ObjectGraph::Child>{{"model", 1}, {"b", 2}, {"d", 3}});
  CHECK(nodes[1].children == std::vector<ObjectGraph::Child>{{"layers", 4}, {"a/b", 5}});
  CHECK(nodes[2].attributes.size() == 2);
  for (std::size_t i = 0; i < std::size(paths); ++i)
    CHECK(key(built->graph, paths[i]) == built->keys[i]);
}

TEST_CASE("paths of which no graph can be made are refused") {
  const std::vector<std::vector<std::string_view>> table = {{},
                                                            {""},
                                                            {"a", "a"},
                                                            {"a", "a/.ATTRIBUTES/VARIABLE_VALUE"},
                                                            {"a.b", "a..b"},
                                                            {"\xff"},
                                                            {".ATTRIBUTES/x"},
                                                            {"w/.OPTIMIZER_SLOT/o/m"}};
  for (const auto& paths : table) CHECK(refusal(object_keys(paths)) == Code::Invalid);
}

TEST_CASE("a chain of a hundred thousand objects is built, read and walked") {
  constexpr std::size_t kDepth = 100'000;
  const ObjectGraph graph = decoded(chain(kDepth));
  CHECK(graph.nodes.size() == kDepth + 1);
  std::string path = "0";
  for (std::size_t i = 1; i < kDepth; ++i) path += "/0";
  CHECK(key(graph, path) == path + "/.ATTRIBUTES/VARIABLE_VALUE");
}

TEST_CASE("a checkpoint without a graph is name-based") {
  test::Scratch scratch;
  test::write_checkpoint(scratch / "m", {test::raw("w", DType::Float32, {2})});
  const Checkpoint checkpoint = test::open_checkpoint(scratch / "m");
  CHECK(refusal(read_object_graph(checkpoint), {"name-based"}) == Code::NotFound);
  CHECK(refusal(find_tensor(checkpoint, "v"), {"similar names"}) == Code::NotFound);
  REQUIRE_OK(find_tensor(checkpoint, "w"));
}

TEST_CASE("a graph that is no scalar string is refused") {
  const std::string graph_name(kObjectGraphName);
  for (const test::Content& content :
       {test::text(graph_name, {1}, {"x"}), test::raw(graph_name, DType::Int32, {})}) {
    test::Scratch scratch;
    test::write_checkpoint(scratch / "m", {content});
    const Checkpoint checkpoint = test::open_checkpoint(scratch / "m");
    CHECK(refusal(read_object_graph(checkpoint), {"scalar"}) == Code::Unsupported);
    CHECK(refusal(find_tensor(checkpoint, "w"), {"scalar"}) == Code::Unsupported);
  }
  test::Scratch scratch;
  test::write_checkpoint(scratch / "m", {test::text(graph_name, {}, {"x"})});
  CHECK(refusal(read_object_graph(test::open_checkpoint(scratch / "m")),
                {"not a TrackableObjectGraph"}) == Code::Corrupt);
}

TEST_CASE("a key that the graph says and the checkpoint lacks is not found") {
  test::Scratch scratch;
  const std::string graph = encode_object_graph(sample());
  test::write_checkpoint(scratch / "m", {test::text(std::string(kObjectGraphName), {}, {graph})});
  const Checkpoint checkpoint = test::open_checkpoint(scratch / "m");
  CHECK(refusal(find_tensor(checkpoint, "model/w"), {"stored/here"}) == Code::NotFound);
  CHECK(refusal(find_tensor(checkpoint, "table"), {"\"keys\""}) == Code::Invalid);
}

TEST_CASE("a key that begins the names of several tensors leads to each of them") {
  ObjectGraph graph;
  graph.nodes.resize(2);
  graph.nodes[0].children = {{"table", 1}, {"same", 1}};
  graph.nodes[1].attributes = {{"table", "", "table/.ATTRIBUTES/table"}};
  test::Scratch scratch;
  test::write_checkpoint(
      scratch / "m", {test::text(std::string(kObjectGraphName), {}, {encode_object_graph(graph)}),
                      test::raw("table/.ATTRIBUTES/table-keys", DType::Int8, {1}),
                      test::raw("table/.ATTRIBUTES/table-values", DType::Int8, {2}),
                      test::raw("table/.ATTRIBUTES/u", DType::Int8, {})});
  const Checkpoint checkpoint = test::open_checkpoint(scratch / "m");
  const auto tensors = tensors_of(checkpoint, graph.nodes[1].attributes[0]);
  REQUIRE_OK(tensors);
  REQUIRE(tensors->size() == 2);
  CHECK((*tensors)[0].name() == "table/.ATTRIBUTES/table-keys");
  CHECK((*tensors)[1].name() == "table/.ATTRIBUTES/table-values");
  const auto values = find_tensor(checkpoint, "same/.ATTRIBUTES/table-values");
  REQUIRE_OK(values);
  CHECK(values->name() == "table/.ATTRIBUTES/table-values");
  CHECK(refusal(find_tensor(checkpoint, "same"), {"fits 2 tensors", "table-keys"}) ==
        Code::Invalid);
  CHECK(refusal(find_tensor(checkpoint, "same/.ATTRIBUTES/tableau")) == Code::NotFound);
  CHECK(tensors_of(checkpoint, {"x", "", ""})->empty());
}

TEST_CASE("objects that are saved are found by their paths, with a save counter") {
  test::Scratch scratch;
  auto saver = Saver::open(scratch.path());
  REQUIRE_OK(saver);
  const float values[] = {1, 2};
  const std::string_view state = "state";
  const NamedTensor tensors[] = {
      {{"model/layers/0/w", DType::Float32, {2}}, std::as_bytes(std::span(values)), {}},
      {{"model/.ATTRIBUTES/py_state", DType::String, {}}, {}, {&state, 1}}};
  for (const std::int64_t step : {7, 8}) {
    SaveOptions options;
    options.step = step;
    REQUIRE_OK(save_objects(*saver, "ckpt", tensors, options));
    const Checkpoint checkpoint = test::open_checkpoint(scratch.path());
    CHECK(checkpoint.tensor_count() == 4);
    const auto w = find_tensor(checkpoint, "model/layers/0/w");
    REQUIRE_OK(w);
    CHECK(w->values<float>().value_or(std::vector<float>()) == std::vector<float>{1, 2});
    const auto counter = find_tensor(checkpoint, "save_counter");
    REQUIRE_OK(counter);
    CHECK((*counter->values<std::int64_t>())[0] == step);
  }
}

TEST_CASE("a save counter that is given is saved") {
  test::Scratch scratch;
  auto saver = Saver::open(scratch.path());
  REQUIRE_OK(saver);
  const std::int64_t counter = 5;
  const NamedTensor tensors[] = {
      {{"save_counter", DType::Int64, {}}, std::as_bytes(std::span(&counter, 1)), {}}};
  REQUIRE_OK(save_objects(*saver, "ckpt", tensors, {}));
  const Checkpoint checkpoint = test::open_checkpoint(scratch / "ckpt");
  const auto stored = find_tensor(checkpoint, "save_counter");
  REQUIRE_OK(stored);
  CHECK((*stored->values<std::int64_t>())[0] == 5);
}

}  // namespace
}  // namespace cairn
