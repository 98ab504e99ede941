// Directories and indexes as the Hugging Face libraries write them.

#include <doctest/doctest.h>

#include <algorithm>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "format/safetensors/header.h"
#include "tests/unit/sandbox.h"

using namespace cairn;
using test::has;
using test::refusal;
using test::Sandbox;
using test::write_file;

namespace {

using Names = std::vector<std::string>;

// A safetensors file with float32 scalars of these values.
std::string file_of(const std::vector<std::pair<std::string, float>>& tensors) {
  std::vector<format::safetensors::HeaderTensor> header;
  std::string bytes;
  for (const auto& [name, value] : tensors) {
    header.push_back({name, DType::Float32, {}, sizeof value});
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return format::safetensors::encode_header(header, {{"format", "pt"}}, 8) + bytes;
}

std::string index_of(const std::string& weight_map, const std::string& metadata = "") {
  return "{\"metadata\": {\"total_size\": 12" + metadata + "}, \"weight_map\": {" + weight_map +
         "}}";
}

// a = 1 and b = 2 in the first file, c = 3 in the second.
const std::string kMap =
    R"("a": "m-1.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors")";

struct Model {
  Model() {
    write_file(box / "m-1.safetensors", file_of({{"a", 1.0F}, {"b", 2.0F}}));
    write_file(box / "m-2.safetensors", file_of({{"c", 3.0F}}));
    write_file(index, index_of(kMap));
  }
  Sandbox box;
  std::filesystem::path index = box / "model.safetensors.index.json";
};

Names names_of(const Checkpoint& checkpoint) {
  Names names;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i)
    names.emplace_back(checkpoint.tensor_at(i).name());
  return names;
}

float value_of(const Checkpoint& checkpoint, std::string_view name) {
  const auto tensor = checkpoint.tensor(name);
  REQUIRE(tensor);
  const auto values = tensor->values<float>();
  REQUIRE(values);
  REQUIRE(values->size() == 1);
  return values->front();
}

}  // namespace

TEST_CASE("a safetensors model in several files opens by its index and by its directory") {
  const Model model;
  for (const auto& path : {model.index, model.box / ""}) {
    for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
      const auto checkpoint = Checkpoint::open(path, {.access = access});
      REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
      CHECK(checkpoint->format() == Format::Safetensors);
      CHECK(names_of(*checkpoint) == Names{"a", "b", "c"});
      CHECK(value_of(*checkpoint, "a") == 1.0F);
      CHECK(value_of(*checkpoint, "c") == 3.0F);
      CHECK(checkpoint->shard_count() == 2);
      CHECK(checkpoint->safetensors_metadata("format") == "pt");
      CHECK(checkpoint->safetensors_metadata("total_size") == "12");
      CHECK(checkpoint->warnings().empty());
    }
  }
  const auto converted = convert(model.index, Format::Safetensors, {.output = model.box / "one"});
  REQUIRE_MESSAGE(converted, refusal(converted));
  const auto one = Checkpoint::open(model.box / "one.safetensors");
  REQUIRE(one);
  CHECK(names_of(*one) == Names{"a", "b", "c"});
  CHECK(value_of(*one, "b") == 2.0F);
}

TEST_CASE("a directory with one safetensors file opens it, and says what it does not read") {
  const Model model;
  write_file(model.box / "model.safetensors", file_of({{"z", 9.0F}}));
  write_file(model.box / "pytorch_model.bin", "a pickle");
  const auto checkpoint = Checkpoint::open(model.box / "");
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(names_of(*checkpoint) == Names{"z"});
  REQUIRE(checkpoint->warnings().size() == 1);
  CHECK(has(checkpoint->warnings().front(),
            "not read: model.safetensors.index.json, pytorch_model.bin"));
}

TEST_CASE("what an index of a safetensors model says and its files do not is refused") {
  struct Case {
    std::string index;
    Code code;
    std::string said;
  };
  const Case cases[] = {
      {index_of(kMap + R"(, "d": "m-3.safetensors")"), Code::NotFound, "m-3.safetensors"},
      {index_of(kMap + R"(, "d": "m-2.safetensors")"), Code::Corrupt,
       "no file of the model has it"},
      {index_of(R"("a": "m-2.safetensors", "b": "m-1.safetensors")"), Code::Corrupt,
       "that file does not have it"},
      {index_of(R"("a": "../m-1.safetensors")"), Code::Unsafe, "same directory"},
      {index_of(R"("a": "/etc/passwd")"), Code::Unsafe, "same directory"},
      {index_of(R"("a": "m\u001b[2J")"), Code::Unsafe, "control characters"},
      {index_of(kMap, R"(, "delta_encoding": "xor")"), Code::Unsupported, "differences"},
      {index_of(""), Code::Corrupt, "no file"},
      {"{}", Code::Corrupt, "weight_map"},
  };
  const Model model;
  for (const Case& each : cases) {
    INFO(each.index);
    write_file(model.index, each.index);
    const auto checkpoint = Checkpoint::open(model.index);
    REQUIRE_FALSE(checkpoint);
    CHECK(checkpoint.error().code == each.code);
    CHECK_MESSAGE(has(checkpoint.error().what, each.said), checkpoint.error().what);
  }
  write_file(model.index, index_of(kMap));
  std::filesystem::resize_file(model.box / "m-2.safetensors", 20);
  const auto cut = Checkpoint::open(model.index);
  REQUIRE_FALSE(cut);
  CHECK(has(cut.error().what, "m-2.safetensors"));
}

TEST_CASE("a tensor that the index does not name is read, one in two files is the one it means") {
  const Model model;
  write_file(model.box / "m-2.safetensors", file_of({{"a", 7.0F}, {"c", 3.0F}, {"d", 4.0F}}));
  const auto checkpoint = Checkpoint::open(model.index);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(names_of(*checkpoint) == Names{"a", "b", "c", "d"});
  CHECK(value_of(*checkpoint, "a") == 1.0F);
  CHECK(value_of(*checkpoint, "d") == 4.0F);
  CHECK(checkpoint->warnings().size() == 2);
  write_file(model.index, index_of(R"("b": "m-1.safetensors", "c": "m-2.safetensors")"));
  CHECK(has(refusal(Checkpoint::open(model.index)), "two of the files"));
}

TEST_CASE("many keys that the files say otherwise, and many tensors twice, are one warning each") {
  constexpr int kMany = 200'000;
  std::string weight_map;
  std::string metadata;
  std::vector<std::pair<std::string, float>> tensors;
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "t" + std::to_string(i);
    tensors.emplace_back(name, 1.0F);
    weight_map += (i == 0 ? "\"" : ", \"") + name + R"(": "m-1.safetensors")";
  }
  for (int i = 0; i < kMany; ++i) metadata += ", \"k" + std::to_string(i) + "\": \"v\"";
  const Model model;
  write_file(model.box / "m-1.safetensors", file_of(tensors));
  tensors.emplace_back("last", 2.0F);
  write_file(model.box / "m-2.safetensors", file_of(tensors));
  write_file(model.index, index_of(weight_map + R"(, "last": "m-2.safetensors")",
                                   metadata + R"(, "format": "tf")"));
  const auto checkpoint = Checkpoint::open(model.index);
  REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
  CHECK(checkpoint->safetensors_metadata_count() == kMany + 2);
  CHECK(checkpoint->safetensors_metadata("format") == "tf");
  REQUIRE(checkpoint->warnings().size() == 3);
  CHECK(has(checkpoint->warnings()[0], "metadata \"format\" differs"));
  CHECK(has(checkpoint->warnings()[2], "1000 in all"));
  CHECK(value_of(*checkpoint, "last") == 2.0F);
}

// The first file is none of them, so that nothing is learned from it.
TEST_CASE("a model whose files are links is of one publication, whenever the link is turned") {
  const Sandbox box;
  write_file(box / "m-1.safetensors", file_of({{"same", 0.0F}}));
  for (const auto& [version, value] : {std::pair{"v1", 1.0F}, std::pair{"v2", 2.0F}}) {
    std::filesystem::create_directory(box / version);
    write_file(box / version / "m-2.safetensors", file_of({{"a", value}}));
    write_file(box / version / "m-3.safetensors", file_of({{"b", value}}));
  }
  write_file(
      box / "model.safetensors.index.json",
      index_of(R"("same": "m-1.safetensors", "a": "m-2.safetensors", "b": "m-3.safetensors")"));
  for (const char* const name : {"m-2.safetensors", "m-3.safetensors"})
    std::filesystem::create_symlink(std::filesystem::path("..data") / name, box / name);
  std::filesystem::create_symlink("v1", box / "..data");
  std::jthread turner([&](const std::stop_token& stop) {
    for (int i = 0; !stop.stop_requested(); ++i) {
      std::filesystem::create_symlink(i % 2 == 0 ? "v2" : "v1", box / "next");
      std::filesystem::rename(box / "next", box / "..data");
    }
  });
  int opened = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto checkpoint = Checkpoint::open(box / "model.safetensors.index.json");
    if (!checkpoint) {
      REQUIRE_MESSAGE(checkpoint.error().code == Code::Busy, checkpoint.error().what);
      continue;
    }
    ++opened;
    REQUIRE(value_of(*checkpoint, "a") == value_of(*checkpoint, "b"));
  }
  CHECK(opened > 0);
}

TEST_CASE("a safetensors model in several files is not copied, moved or removed in one step") {
  const Model model;
  CHECK(has(refusal(copy_checkpoint(model.index, {.output = model.box / "copy"})), "convert"));
  CHECK(has(refusal(move_checkpoint(model.index, {.output = model.box / "moved"})), "convert"));
  CHECK(has(refusal(remove_checkpoint(model.index)), "convert"));
  CHECK(std::filesystem::exists(model.box / "m-2.safetensors"));
}
