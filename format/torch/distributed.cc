// The pickle is a Metadata of two dicts. One has the tensors by their names, with the offsets and
// sizes of their chunks; the other has the place of each chunk, by the tensor's name and the
// chunk's offsets.
//
// A few bytes of a pickle can name a value again, so what is made of it is counted: its memory is
// bounded by the pickle's.

#include "format/torch/distributed.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "format/checked.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/torch/contents.h"
#include "format/torch/refusals.h"
#include "format/torch/tensors.h"
#include "lib/try.h"

namespace cairn::format::torch {
namespace {

using pickle::Graph;
using pickle::Kind;
using pickle::Node;
using pickle::Ref;
using Sizes = std::vector<std::int64_t>;

constexpr std::string_view kMetadataModule = "torch.distributed.checkpoint.metadata";
constexpr std::string_view kFileModule = "torch.distributed.checkpoint.filesystem";
constexpr std::string_view kOldPropertiesModule =
    "torch.distributed._shard.sharded_tensor.metadata";
constexpr std::uint64_t kNodeBytes = 48;    // of a map, about
constexpr std::size_t kAttributesMax = 64;  // cells: stops a large object that is named often
constexpr std::size_t kSentencesMax = 20;   // stops a flood of warnings

// By what a chunk is found, or, without offsets, a value that is no tensor.
using ItemKey = std::pair<std::string_view, std::optional<Sizes>>;

// Where it is stored.
struct StoredItem {
  std::string_view file;
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  bool transformed = false;  // its bytes are compressed, or the like
};

std::string text_of(const Sizes& sizes) {
  std::string text = "[";
  for (const std::int64_t size : sizes) text += (text.size() > 1 ? "," : "") + std::to_string(size);
  return text + "]";
}

bool is_inside(const Sizes& offsets, const Sizes& sizes, const Sizes& shape) {
  if (offsets.size() != shape.size() || sizes.size() != shape.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (offsets[i] > shape[i] || sizes[i] > shape[i] - offsets[i]) return false;
  }
  return true;
}

class Decoder {
 public:
  Decoder(const pickle::Pickle& pickle, const DistributedOptions& options)
      : pickle_(pickle),
        graph_(pickle.graph),
        options_(options),
        left_bytes_(pickle_memory_max(options.pickle_bytes) / 2) {}

  Decoded<Distributed> run() {
    if (!is_a(pickle_.root, kMetadataModule, "Metadata")) {
      return not_readable(
          "it is a pickle of something else than the metadata of a distributed checkpoint");
    }
    const Ref items = attribute(pickle_.root, "storage_data");
    const Ref entries = attribute(pickle_.root, "state_dict_metadata");
    if (!graph_.is(items, Kind::Dict) || !graph_.is(entries, Kind::Dict))
      return broken("it has no dict of tensors, or none of the places where they are stored");
    CAIRN_CHECK(read_items(items));
    CAIRN_CHECK(number_files());
    CAIRN_TRY(named, entries_of(entries));
    for (const auto& [name, entry] : named) CAIRN_CHECK(read_entry(name, entry));
    if (left_out_count_ > kSentencesMax)
      all_.left_out.push_back(sentence(left_out_count_ - kSentencesMax, " more are left out"));
    return std::move(all_);
  }

 private:
  bool is_a(Ref object, std::string_view module, std::string_view name) const {
    return graph_.is(object, Kind::Object) && graph_.names(graph_[object].a, module, name);
  }

  // Of an object's state; None: it has none of that name.
  Ref attribute(Ref object, std::string_view name) const {
    if (!graph_.is(graph_[object].c, Kind::Dict)) return pickle::kNone;
    Ref found = pickle::kNone;
    Ref key = pickle::kNone;
    bool is_key = true;
    std::size_t count = 0;
    for (const Ref each : graph_.cells(graph_[object].c)) {
      if (++count > kAttributesMax) return pickle::kNone;
      if (!is_key && graph_.is(key, Kind::Text) && graph_.text(key) == name) found = each;
      key = each;
      is_key = !is_key;
    }
    return found;
  }

  Decoded<void> spend(std::uint64_t bytes) {
    if (bytes > left_bytes_) {
      exhausted_ = true;
      return not_readable("what it leads to takes more memory than ", limits::kPickleRatioMax,
                          " times its ", options_.pickle_bytes, " bytes");
    }
    left_bytes_ -= bytes;
    return {};
  }

  // A torch.Size.
  Decoded<Sizes> sizes(Ref value) {
    if (is_size(value)) value = *graph_.cells(graph_[value].b).begin();
    if (!graph_.is(value, Kind::Tuple)) return broken("its offsets or sizes are no torch.Size");
    CAIRN_TRY(all, numbers_of(graph_, value, "its offsets or sizes have"));
    CAIRN_CHECK(spend(all.capacity() * sizeof(std::int64_t)));
    return all;
  }

  bool is_size(Ref value) const {
    return is_a(value, "torch", "Size") && !graph_.cells(graph_[value].b).empty();
  }

  // ---- Where things are stored ----

  Decoded<void> read_items(Ref dict) {
    Ref key = pickle::kNone;
    bool is_key = true;
    for (const Ref each : graph_.cells(dict)) {
      if (!is_key) CAIRN_CHECK(read_item(key, each));
      key = each;
      is_key = !is_key;
    }
    return {};
  }

  Decoded<void> read_item(Ref index, Ref info) {
    if (!is_a(index, kMetadataModule, "MetadataIndex") || !is_a(info, kFileModule, "_StorageInfo"))
      return not_readable("it names places by objects of other classes than those of PyTorch");
    ItemKey key;
    StoredItem item;
    const Ref name = attribute(index, "fqn");
    const Ref file = attribute(info, "relative_path");
    key.first = graph_.text(name);
    if (!graph_.is(name, Kind::Text) || !graph_.is(file, Kind::Text))
      return broken("a place has no name, or no file");
    item.file = graph_.text(file);
    if (const Ref offsets = attribute(index, "offset"); offsets != pickle::kNone) {
      CAIRN_TRY(read, sizes(offsets));
      key.second = std::move(read);
    }
    const Node& offset = graph_[attribute(info, "offset")];
    const Node& length = graph_[attribute(info, "length")];
    if (offset.kind != Kind::Int || length.kind != Kind::Int || offset.integer < 0 ||
        length.integer < 0)
      return broken("the place of ", quoted(key.first), " has no offset and length of 0 and more");
    item.offset_bytes = static_cast<std::uint64_t>(offset.integer);
    item.size_bytes = static_cast<std::uint64_t>(length.integer);
    const Ref transforms = attribute(info, "transform_descriptors");
    item.transformed = transforms != pickle::kNone && !graph_.cells(transforms).empty();
    CAIRN_CHECK(spend(sizeof key + sizeof item + kNodeBytes));
    items_.insert_or_assign(std::move(key), item);
    return {};
  }

  Decoded<void> number_files() {
    for (const auto& [key, item] : items_) number_of_.emplace(item.file, 0);
    if (number_of_.size() >= limits::kShardsMax)
      return not_readable("it names more than the limit of ", limits::kShardsMax, " files");
    for (auto& [file, number] : number_of_) {
      CAIRN_CHECK(spend(2 * sizeof(std::string) + kNodeBytes + file.size()));
      number = static_cast<std::uint32_t>(all_.files.size());
      all_.files.emplace_back(file);
    }
    return {};
  }

  const StoredItem* find(std::string_view name, std::optional<Sizes> offsets) const {
    const auto found = items_.find({name, std::move(offsets)});
    return found == items_.end() ? nullptr : &found->second;
  }

  Item item_of(const StoredItem& stored) const {
    return {number_of_.at(stored.file), stored.offset_bytes, stored.size_bytes};
  }

  // ---- What there is ----

  using Entries = std::map<std::string_view, Ref>;

  // Each name once, with what it was given last, as Python has it.
  Decoded<Entries> entries_of(Ref dict) {
    Entries entries;
    Ref key = pickle::kNone;
    bool is_key = true;
    for (const Ref each : graph_.cells(dict)) {
      if (!is_key) {
        if (!graph_.is(key, Kind::Text)) return broken("it has a tensor whose name is no text");
        CAIRN_CHECK(spend(sizeof(Entries::value_type) + kNodeBytes));
        entries.insert_or_assign(graph_.text(key), each);
      }
      key = each;
      is_key = !is_key;
    }
    return entries;
  }

  Decoded<void> read_entry(std::string_view name, Ref entry) {
    auto done = is_a(entry, kMetadataModule, "BytesStorageMetadata")    ? read_value(name)
                : is_a(entry, kMetadataModule, "TensorStorageMetadata") ? read_tensor(name, entry)
                                                                        : other_class();
    if (done) return done;
    DecodeError error = std::move(done).error();
    if (exhausted_ || (error.code == Code::Corrupt && options_.whole)) {
      error.what = sentence("tensor ", quoted(name), ": ", error.what);
      return error;
    }
    if (++left_out_count_ <= kSentencesMax)
      all_.left_out.push_back(sentence("tensor ", quoted(name), " is left out: ", error.what));
    return {};
  }

  static Decoded<void> other_class() { return not_readable("it is of a class that is not known"); }

  Decoded<void> read_value(std::string_view name) {
    const StoredItem* const stored = find(name, std::nullopt);
    if (stored == nullptr) return broken("it is not said where it is stored");
    if (stored->transformed) return transformed();
    CAIRN_CHECK(spend(sizeof(SavedValue) + name.size()));
    all_.values.push_back({std::string(name), item_of(*stored)});
    return {};
  }

  static Decoded<void> transformed() {
    return not_readable(
        "its bytes were changed by extensions of the writer, such as a compression");
  }

  const TorchDtype* dtype_of(Ref properties) const {
    const bool is_known = is_a(properties, kMetadataModule, "TensorProperties") ||
                          is_a(properties, kOldPropertiesModule, "TensorProperties");
    if (!is_known || !graph_.is(graph_[properties].c, Kind::Tuple)) return nullptr;
    const auto state = graph_.cells(graph_[properties].c);
    if (state.empty() || !graph_.is(*state.begin(), Kind::Global)) return nullptr;
    const Node& dtype = graph_[*state.begin()];
    return graph_.text(dtype.a) == "torch" ? dtype_named(graph_.text(dtype.b)) : nullptr;
  }

  Decoded<void> read_tensor(std::string_view name, Ref entry) {
    ChunkedTensor tensor;
    tensor.dtype = dtype_of(attribute(entry, "properties"));
    if (tensor.dtype == nullptr) return not_readable("its dtype is not known");
    CAIRN_TRY(shape, sizes(attribute(entry, "size")));
    tensor.shape = std::move(shape);
    const auto count = element_count(tensor.shape);
    if (!count) return broken("its shape is too large");
    const Ref chunks = attribute(entry, "chunks");
    if (!graph_.is(chunks, Kind::List)) return broken("it has no list of chunks");
    for (const Ref each : graph_.cells(chunks)) CAIRN_CHECK(read_chunk(name, each, tensor));
    const auto place = [](const Chunk& chunk) { return std::tie(chunk.offsets, chunk.sizes); };
    std::ranges::sort(tensor.chunks, {}, place);
    const auto rest = std::ranges::unique(tensor.chunks, {}, place);  // of every replica
    tensor.chunks.erase(rest.begin(), rest.end());
    CAIRN_CHECK(spend(sizeof tensor + name.size()));
    tensor.name = name;
    all_.tensors.push_back(std::move(tensor));
    return {};
  }

  Decoded<void> read_chunk(std::string_view name, Ref object, ChunkedTensor& tensor) {
    if (!is_a(object, kMetadataModule, "ChunkStorageMetadata"))
      return broken("a chunk of it is no ChunkStorageMetadata");
    Chunk chunk;
    CAIRN_TRY(offsets, sizes(attribute(object, "offsets")));
    CAIRN_TRY(lengths, sizes(attribute(object, "sizes")));
    if (!is_inside(offsets, lengths, tensor.shape)) {
      return broken("its chunk of the sizes ", text_of(lengths), " at ", text_of(offsets),
                    " is not inside of its shape ", text_of(tensor.shape));
    }
    if (element_count(lengths) == std::uint64_t{0}) return {};
    const StoredItem* const stored = find(name, offsets);
    if (stored == nullptr)
      return broken("it is not said where its chunk at ", text_of(offsets), " is stored");
    if (stored->transformed) return transformed();
    CAIRN_CHECK(spend(2 * sizeof chunk));
    tensor.chunks.push_back({std::move(offsets), std::move(lengths), item_of(*stored)});
    return {};
  }

  const pickle::Pickle& pickle_;
  const Graph& graph_;
  const DistributedOptions& options_;
  std::uint64_t left_bytes_;  // that may still be made of the pickle
  bool exhausted_ = false;    // more was wanted
  std::map<ItemKey, StoredItem> items_;
  std::map<std::string_view, std::uint32_t> number_of_;  // of a file
  std::uint64_t left_out_count_ = 0;
  Distributed all_;
};

}  // namespace

Decoded<Distributed> decode_distributed(const pickle::Pickle& pickle,
                                        const DistributedOptions& options) {
  return Decoder(pickle, options).run();
}

}  // namespace cairn::format::torch
