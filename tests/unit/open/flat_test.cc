// Files whose index is FlatBuffers: what ExecuTorch's serializer wrote, and models of TensorFlow
// Lite that are put together here.

#include <doctest/doctest.h>
#include <flatbuffers/flatbuffers.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "format/checked.h"
#include "format/flat/ptd.h"
#include "format/flat/tflite.h"
#include "format/le.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using format::flat::FlatModel;
using test::golden;
using test::has;
using test::read_file;
using test::refusal;
using test::Sandbox;
using test::write_file;

format::ReadAt read_of(std::string_view file) {
  return [file](std::uint64_t offset, std::span<std::byte> out) -> format::Decoded<void> {
    REQUIRE(format::inside(offset, out.size(), file.size()));
    std::ranges::copy(format::as_bytes(file).subspan(offset, out.size()), out.begin());
    return {};
  };
}

format::Decoded<FlatModel> decode_ptd(std::string_view file, bool whole = true) {
  return format::flat::decode_ptd({file.size(), whole}, read_of(file));
}
format::Decoded<FlatModel> decode_tflite(std::string_view file, bool whole = true) {
  return format::flat::decode_tflite({file.size(), whole}, read_of(file));
}

// ---- Models by hand -----------------------------------------------------------------------------

struct TfliteTensor {
  std::string name;
  std::vector<std::int32_t> shape;
  std::int8_t type = 0;
  std::uint32_t buffer = 0;
  bool sparse = false;
};

using Bytes = std::vector<std::uint8_t>;

// A model of these tensors, in one graph each, over buffers of which the first is empty. Each
// tensor is so many times in its graph. With `behind`, the bytes of the last buffer lie at this
// place of the file, behind the FlatBuffers.
std::string tflite(const std::vector<std::vector<TfliteTensor>>& graphs,
                   const std::vector<Bytes>& buffers, std::size_t times = 1,
                   std::uint64_t behind = 0) {
  using Table = flatbuffers::Offset<flatbuffers::Table>;
  const auto slot = [](int field) { return static_cast<flatbuffers::voffset_t>(4 + 2 * field); };
  flatbuffers::FlatBufferBuilder made;
  const auto table = [&](auto fill) {
    const auto start = made.StartTable();
    fill();
    return Table(made.EndTable(start));
  };
  std::vector<Table> made_buffers;
  for (const Bytes& bytes : buffers) {
    const auto data = made.CreateVector(bytes);
    const bool is_behind = behind != 0 && &bytes == &buffers.back();
    made_buffers.push_back(table([&] {
      if (is_behind) made.AddElement<std::uint64_t>(slot(1), behind, 0);
      if (is_behind) made.AddElement<std::uint64_t>(slot(2), bytes.size(), 0);
      if (!is_behind && !bytes.empty()) made.AddOffset(slot(0), data);
    }));
  }
  std::vector<Table> made_graphs;
  for (const auto& tensors : graphs) {
    std::vector<Table> made_tensors;
    for (const TfliteTensor& tensor : tensors) {
      const auto shape = made.CreateVector(tensor.shape);
      const auto name = made.CreateString(tensor.name);
      const auto sparsity = table([] {});
      const Table made_tensor = table([&] {
        made.AddOffset(slot(0), shape);
        made.AddElement<std::int8_t>(slot(1), tensor.type, 0);
        made.AddElement<std::uint32_t>(slot(2), tensor.buffer, 0);
        made.AddOffset(slot(3), name);
        if (tensor.sparse) made.AddOffset(slot(6), sparsity);
      });
      made_tensors.insert(made_tensors.end(), times, made_tensor);
    }
    const auto list = made.CreateVector(made_tensors);
    const auto name = made.CreateString(made_graphs.empty() ? "main" : "body");
    made_graphs.push_back(table([&] {
      made.AddOffset(slot(0), list);
      made.AddOffset(slot(4), name);
    }));
  }
  const auto graph_list = made.CreateVector(made_graphs);
  const auto buffer_list = made.CreateVector(made_buffers);
  const auto description = made.CreateString("made by hand");
  made.Finish(table([&] {
                made.AddElement<std::uint32_t>(slot(0), 3, 0);
                made.AddOffset(slot(2), graph_list);
                made.AddOffset(slot(3), description);
                made.AddOffset(slot(4), buffer_list);
              }),
              "TFL3");
  std::string file(reinterpret_cast<const char*>(made.GetBufferPointer()), made.GetSize());
  if (behind == 0) return file;
  file.resize(behind, '\0');
  return file.append(buffers.back().begin(), buffers.back().end());
}

Bytes floats(const std::vector<float>& values) {
  Bytes bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::string plain_tflite() {
  return tflite({{{"w", {2, 3}, 0, 1},
                  {"computed", {7}, 0, 0},
                  {"empty", {7}, 0, 2},
                  {"tied", {6}, 0, 1},
                  {"w", {3}, 17, 3},
                  {"words", {2}, 5, 3},
                  {"s", {6}, 0, 1, true}},
                 {{"w", {6}, 0, 1}}},
                {{}, floats({1, 2, 3, 4, 5, 6}), {}, {0x21, 0x03}});
}

TEST_CASE("the weights of a TensorFlow Lite model lie where they are") {
  const Sandbox box;
  write_file(box / "m.tflite", plain_tflite());
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    const auto model = Checkpoint::open(box / "m.tflite", {.access = access});
    REQUIRE_MESSAGE(model, refusal(model));
    CHECK(model->format() == Format::Tflite);
    CHECK(name(model->format()) == "tflite");
    CHECK(model->tensor_count() == 4);
    CHECK(*model->tensor("w")->values<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(model->tensor("w")->shape()[1] == 3);
    CHECK(model->tensor("tied")->offset_bytes() == model->tensor("w")->offset_bytes());
    CHECK(*model->tensor("body/w")->values<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(model->tensor("w#2")->spec()->opaque == OpaqueDType{"INT4", 4});
    CHECK(model->tensor("w#2")->bytes()->size() == 2);
    CHECK(*model->metadata("description") == "made by hand");
    REQUIRE(model->warnings().size() == 2);
    CHECK(has(model->warnings()[0], "tensor \"words\" is left out: its type, 5"));
    CHECK(has(model->warnings()[1], "tensor \"s\" is left out: it is sparse"));
  }
  write_file(box / "renamed", plain_tflite());
  CHECK((*Checkpoint::open(box / "renamed")).format() == Format::Tflite);
}

TEST_CASE("weights behind the FlatBuffers lie where their buffer says") {
  const std::string file = tflite({{{"w", {6}, 0, 1}}}, {{}, floats({1, 2, 3, 4, 5, 6})}, 1, 4096);
  const auto model = decode_tflite(file);
  REQUIRE_MESSAGE(model, model.error().what);
  CHECK(model->tensors.at(0).span == format::Span{0, 4096, 24, {}});
  const auto cut = decode_tflite(file.substr(0, file.size() - 1));
  REQUIRE_FALSE(cut);
  CHECK(has(cut.error().what, "it is truncated"));
}

TEST_CASE("a TensorFlow Lite model that contradicts itself is refused, or the tensor is left out") {
  const Bytes six = floats({1, 2, 3, 4, 5, 6});
  const std::pair<std::string, const char*> rows[] = {
      {tflite({{{"w", {7}, 0, 1}}}, {{}, six}), "take 28 bytes, and its buffer has 24"},
      {tflite({{{"w", {6}, 0, 9}}}, {{}, six}), "buffer 9 of 2"},
      {tflite({{{"w", {-6}, 0, 1}}}, {{}, six}), "negative dimension"},
      {tflite({{{"w", std::vector<std::int32_t>(255, 1), 0, 1}}}, {{}, six}), "255 dimensions"},
  };
  for (const auto& [file, said] : rows) {
    INFO(said);
    const auto model = decode_tflite(file);
    REQUIRE_FALSE(model);
    CHECK(model.error().code == Code::Corrupt);
    CHECK_MESSAGE(has(model.error().what, said), model.error().what);
    const auto rest = decode_tflite(file, false);
    REQUIRE(rest);
    CHECK(rest->left_out.size() == 1);
    CHECK(has(rest->left_out.at(0), said));
  }
}

TEST_CASE("a tensor that is listed a thousand times does not fill the memory") {
  const Bytes six = floats({1, 2, 3, 4, 5, 6});
  const std::string long_name(std::size_t{1} << 20, 'n');
  for (const auto& [file, good] : {std::pair{tflite({{{"w", {6}, 0, 1}}}, {{}, six}, 1000), true},
                                   {tflite({{{long_name, {6}, 0, 1}}}, {{}, six}, 1000), false},
                                   {tflite({{{"w", {6}, 0, 1}}}, {{}, six}, 300'000), false}}) {
    const auto model = decode_tflite(file);
    CHECK(model.has_value() == good);
    if (good) CHECK(model->tensors.size() == 1000);
    if (model) continue;
    CHECK(model.error().code == Code::Unsupported);
    CHECK(has(model.error().what, "than the limit of 262144"));
  }
}

// ---- What ExecuTorch's serializer wrote ---------------------------------------------------------

TEST_CASE("tensors of ExecuTorch lie where they are, in their own order of dimensions") {
  for (const Access access : {Access::Shared, Access::Private, Access::Copy}) {
    const auto layouts = Checkpoint::open(golden("flat/layouts.ptd"), {.access = access});
    REQUIRE_MESSAGE(layouts, refusal(layouts));
    CHECK(layouts->format() == Format::Ptd);
    CHECK(name(layouts->format()) == "ptd");
    CHECK(layouts->tensor_count() == 4);
    const auto tied = layouts->tensor("encoder.block.26.rope.tied");
    const auto first = layouts->tensor("transformer.h.28.attn_norm.weight");
    CHECK(tied->offset_bytes() == first->offset_bytes());
    CHECK(layouts->tensor("encoder.block.17.expert.blob")->dtype() == DType::Uint8);
    CHECK(layouts->tensor("encoder.block.17.expert.blob")->bytes()->size() == 20);
    // In the file the channels are the last dimension, and the second one here.
    const auto nhwc = layouts->tensor("encoder.block.32.down_proj.nhwc");
    CHECK(std::ranges::equal(nhwc->shape(), std::vector<std::int64_t>{1, 3, 2, 2}));
    const std::string file = read_file(golden("flat/layouts.ptd"));
    std::vector<float> stored(12);
    std::memcpy(stored.data(), file.data() + nhwc->offset_bytes(), sizeof(float) * stored.size());
    const auto values = nhwc->values<float>();
    REQUIRE_MESSAGE(values, refusal(values));
    for (std::size_t channel = 0; channel < 3; ++channel) {
      for (std::size_t at = 0; at < 4; ++at) {
        const float expected = stored[3 * at + channel];
        CHECK(std::memcmp(&(*values)[4 * channel + at], &expected, sizeof expected) == 0);
      }
    }
    const auto dtypes = Checkpoint::open(golden("flat/dtypes.ptd"), {.access = access});
    REQUIRE_MESSAGE(dtypes, refusal(dtypes));
    CHECK(dtypes->warnings().empty());
    CHECK(dtypes->verify()->damage.empty());
  }
}

// ---- Damage -------------------------------------------------------------------------------------

TEST_CASE("every bit flip and every cut is refused, or gives tensors inside the file") {
  const auto check = [](const std::string& file, const FlatModel& model) {
    for (const auto& tensor : model.tensors)
      CHECK(format::inside(tensor.span.offset_bytes, tensor.span.size_bytes, file.size()));
  };
  for (const auto& [whole, decode] : {std::pair{read_file(golden("flat/layouts.ptd")), &decode_ptd},
                                      std::pair{plain_tflite(), &decode_tflite}}) {
    REQUIRE(decode(whole, true));
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const std::string cut = whole.substr(0, size);
      const auto model = decode(cut, true);
      if (model) check(cut, *model);
    }
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      std::string file = whole;
      file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
      const auto model = decode(file, true);
      if (model) check(file, *model);
      refused += model ? 0 : 1;
    }
    MESSAGE(8 * whole.size(), " flips, ", refused, " refused");
    CHECK(refused > whole.size() / 2);
  }
}

TEST_CASE("a cut file of ExecuTorch is truncated") {
  const std::string whole = read_file(golden("flat/dtypes.ptd"));
  const auto cut = decode_ptd(whole.substr(0, whole.size() - 1));
  REQUIRE_FALSE(cut);
  CHECK(has(cut.error().what, "it is truncated"));
}

TEST_CASE("they are converted, copied and moved as other files are") {
  Sandbox box;
  write_file(box / "m.tflite", plain_tflite());
  write_file(box / "m.ptd", read_file(golden("flat/layouts.ptd")));
  for (const char* name : {"m.tflite", "m.ptd"}) {
    const auto converted = convert(box / name, Format::Cairn,
                                   {.output = box / "c", .replace = true, .allow_lossy = true});
    REQUIRE_MESSAGE(converted, refusal(converted));
    CHECK((*Checkpoint::open(box / "c")).tensor_count() == 4);
    REQUIRE(copy_checkpoint(box / name, {.output = box / ("copy-" + std::string(name))}));
    CHECK((*Checkpoint::open(box / ("copy-" + std::string(name)))).tensor_count() == 4);
  }
  CHECK(has(refusal(convert(box / "c", Format::Ptd, {.output = box / "o"})), "does not write"));
  CHECK(has(refusal(convert(box / "c", Format::Tflite, {.output = box / "o"})), "does not write"));
}

}  // namespace
}  // namespace cairn
