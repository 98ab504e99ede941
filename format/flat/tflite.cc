#include "format/flat/tflite.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "format/checked.h"
#include "format/flat/reader.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "format/sorted.h"

namespace cairn::format::flat {
namespace {

using enum DType;

// TensorType, by its number. Opaque: of so many bits, packed, the first element in the low ones.
struct Type {
  DType dtype = Invalid;
  std::string_view name;  // of an opaque one
  std::uint16_t bits = 0;
};
constexpr std::array<Type, 23> kTypes{{
    {Float32, {}, 0},     {Float16, {}, 0},      {Int32, {}, 0},      {Uint8, {}, 0},
    {Int64, {}, 0},       {String, {}, 0},       {Bool, {}, 0},       {Int16, {}, 0},
    {Complex64, {}, 0},   {Int8, {}, 0},         {Float64, {}, 0},    {Complex128, {}, 0},
    {Uint64, {}, 0},      {Resource, {}, 0},     {Variant, {}, 0},    {Uint32, {}, 0},
    {Uint16, {}, 0},      {Opaque, "INT4", 4},   {Bfloat16, {}, 0},   {Opaque, "INT2", 2},
    {Opaque, "UINT4", 4}, {Float8E4M3FN, {}, 0}, {Float8E5M2, {}, 0},
}};

class TfliteDecoder {
 public:
  TfliteDecoder(const FlatOptions& options, ReadAt read)
      : options_(options), reader_(options.file_bytes, std::move(read)) {}

  Decoded<FlatModel> run() {
    if (reader_.number_at<std::uint32_t>(4) != kTfliteMark)
      reader_.refuse(4, "this is no TensorFlow Lite model of version TFL3");
    const Table root = reader_.root();
    buffers_ = reader_.vector(root, 4, 4);
    take_metadata(root);
    const Vector graphs = reader_.vector(root, 2, 4);
    for (std::uint64_t i = 0; i < graphs.count && !reader_.error() && !beyond_; ++i) {
      const Table graph = reader_.element(graphs, i);
      // The first one is the model, the others are bodies of its operators.
      std::string name = i == 0 ? "" : reader_.text(graph, 4, limits::kNameBytesMax);
      if (i != 0) name = (name.empty() ? sentence("subgraph_", i) : name) + "/";
      if (!is_beyond(1, name.size())) take_graph(graph, name);
    }
    if (reader_.error()) return *reader_.error();
    if (beyond_) {
      return unsupported(root.at,
                         sentence("the model has more tensors and graphs than the limit of ",
                                  limits::kFlatTensorsMax, ", or their names more than ",
                                  limits::kFlatNamesBytesMax, " bytes"));
    }
    sort_by_name(model_.tensors);
    std::ranges::sort(model_.metadata);
    return std::move(model_);
  }

 private:
  void take_metadata(const Table& root) {
    const std::string text = reader_.text(root, 3, limits::kNameBytesMax);
    if (!text.empty()) model_.metadata.emplace_back("description", text);
    model_.metadata.emplace_back("tflite.version",
                                 std::to_string(reader_.number<std::uint32_t>(root, 0)));
  }

  void take_graph(const Table& graph, const std::string& graph_name) {
    const Vector tensors = reader_.vector(graph, 0, 4);
    if (is_beyond(tensors.count, 0)) return;
    for (std::uint64_t i = 0; i < tensors.count && !reader_.error() && !beyond_; ++i)
      take(reader_.element(tensors, i), graph_name);
  }

  // Counts. One table can be in a list any number of times, and so can its name.
  bool is_beyond(std::uint64_t tables, std::uint64_t name_bytes) {
    table_count_ += tables;
    name_bytes_ += name_bytes;
    beyond_ = beyond_ || table_count_ > limits::kFlatTensorsMax ||
              name_bytes_ > limits::kFlatNamesBytesMax;
    return beyond_;
  }

  // Where a buffer's bytes are: inside the FlatBuffers, or behind them.
  FileRange bytes_of(std::uint32_t buffer) {
    const Table found = reader_.element(buffers_, buffer);
    const auto offset = reader_.number<std::uint64_t>(found, 1);
    if (offset > 1) return {offset, reader_.number<std::uint64_t>(found, 2)};
    const Vector data = reader_.vector(found, 0, 1);
    return {data.at, data.count};
  }

  void take(const Table& entry, const std::string& graph_name) {
    const auto buffer = reader_.number<std::uint32_t>(entry, 2);
    if (buffer == 0) return;  // of what is computed
    const bool known = buffer < buffers_.count;
    const FileRange bytes = known ? bytes_of(buffer) : FileRange{};
    if (known && bytes.size_bytes == 0) return;
    TensorFacts tensor;
    tensor.name = graph_name + reader_.text(entry, 3, limits::kNameBytesMax);
    if (reader_.error() || is_beyond(0, tensor.name.size())) return;
    if (!known) return refuse(entry, tensor, sentence("buffer ", buffer, " of ", buffers_.count));
    const auto number = static_cast<std::uint8_t>(reader_.number<std::int8_t>(entry, 1));
    const Type type = number < kTypes.size() ? kTypes[number] : Type{};
    const bool raw = type.bits != 0 || element_bytes(type.dtype) != 0;
    if (!raw)
      return leave_out(
          tensor, sentence("its type, ", number, ", has no elements of one size that are known"));
    if (reader_.has(entry, 6)) return leave_out(tensor, "it is sparse");
    tensor.dtype = type.dtype;
    tensor.opaque_dtype = type.name;
    tensor.opaque_bits = type.bits;
    const Vector shape = reader_.vector(entry, 0, 4);
    if (shape.count > limits::kRankMax)
      return refuse(
          entry, tensor,
          sentence(shape.count, " dimensions, more than the limit of ", limits::kRankMax));
    for (std::uint64_t i = 0; i < shape.count; ++i)
      tensor.shape.push_back(reader_.number_at<std::int32_t>(shape.at + 4 * i));
    place(entry, bytes, std::move(tensor));
  }

  void place(const Table& entry, const FileRange& bytes, TensorFacts tensor) {
    const std::uint64_t width =
        tensor.opaque_bits != 0 ? tensor.opaque_bits : 8 * element_bytes(tensor.dtype);
    const auto count = element_count(tensor.shape);
    const auto bits = count ? checked_mul(*count, width) : std::nullopt;
    if (!bits) return refuse(entry, tensor, "its shape is too large, or has a negative dimension");
    const std::uint64_t due = *bits / 8 + (*bits % 8 != 0 ? 1 : 0);
    if (due != bytes.size_bytes) {
      return refuse(
          entry, tensor,
          sentence("its elements take ", due, " bytes, and its buffer has ", bytes.size_bytes));
    }
    if (options_.whole && !inside(bytes.offset_bytes, due, options_.file_bytes)) {
      return refuse(entry, tensor,
                    sentence("its ", due, " bytes end behind the file's ", options_.file_bytes,
                             ": it is truncated"));
    }
    tensor.span = {0, bytes.offset_bytes, due, std::nullopt};
    tensor.name = unique(std::move(tensor.name));
    model_.tensors.push_back(std::move(tensor));
  }

  // Nothing keeps two tensors of a graph from having one name.
  std::string unique(std::string name) {
    bool is_new = taken_.try_emplace(name, 1).second;
    for (const std::string first = name; !is_new;) {
      name = sentence(first, "#", ++taken_.at(first));
      is_new = taken_.try_emplace(name, 1).second;
    }
    return name;
  }

  void leave_out(const TensorFacts& tensor, const std::string& why) {
    model_.left_out.push_back(sentence("tensor ", quoted(tensor.name), " is left out: ", why));
  }

  void refuse(const Table& entry, const TensorFacts& tensor, const std::string& why) {
    if (!options_.whole) return leave_out(tensor, why);
    reader_.refuse(entry.at, sentence("tensor ", quoted(tensor.name), ": ", why));
  }

  const FlatOptions& options_;
  Reader reader_;
  Vector buffers_;
  FlatModel model_;
  std::uint64_t table_count_ = 0;
  std::uint64_t name_bytes_ = 0;
  bool beyond_ = false;                                   // the limits
  std::unordered_map<std::string, std::uint64_t> taken_;  // names, and how many got a number behind
};

}  // namespace

Decoded<FlatModel> decode_tflite(const FlatOptions& options, ReadAt read) {
  return TfliteDecoder(options, std::move(read)).run();
}

}  // namespace cairn::format::flat
