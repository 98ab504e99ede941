// A distributed checkpoint of PyTorch (torch.distributed.checkpoint): a directory with a pickle,
// .metadata, and the files of the processes that wrote it, __0_0.distcp and so on. Each of them has
// one archive of torch.save behind another: of a chunk of a tensor, or of a value.
//
// A tensor of one chunk is served from its file, and one of several is what TensorFlow calls
// partitioned: its chunks are its slices, and stay where they are. Nothing is put together before
// somebody reads it.

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/limits.h"
#include "format/pickle/machine.h"
#include "format/quoted.h"
#include "format/sorted.h"
#include "format/torch/distributed.h"
#include "lib/open/file_formats.h"
#include "lib/open/shard_bytes.h"
#include "lib/open/torch_archive.h"
#include "lib/open/torch_index.h"
#include "lib/read/names.h"
#include "lib/read/slices.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::TensorFacts;
using format::torch::Chunk;
using format::torch::ChunkedTensor;
using format::torch::Distributed;
using format::torch::Item;
using format::torch::SavedValue;
using format::torch::StoredTensor;

std::string text_of(const std::vector<std::int64_t>& sizes) {
  std::string text = "[";
  for (const std::int64_t size : sizes) text += (text.size() > 1 ? "," : "") + std::to_string(size);
  return text + "]";
}

Box box_of(const Chunk& chunk) {
  Box box;
  for (std::size_t i = 0; i < chunk.sizes.size(); ++i)
    box.push_back({chunk.offsets[i], chunk.sizes[i]});
  return box;
}

// Strides that are to be undone.
format::torch::Rearranged in_order(const TensorFacts& tensor) {
  const auto bytes = static_cast<std::uint32_t>(element_bytes(tensor.dtype));
  return {bytes, tensor.shape, tensor.strides, 0, bytes, false, false};
}

// What an item was found to hold.
struct ReadItem {
  TorchArchive::Saved saved;
  bool big_endian = false;
};

class DistributedReader {
 public:
  DistributedReader(const Location& location, std::string path, bool whole, Distributed all)
      : location_(location),
        path_(std::move(path)),
        whole_(whole),
        all_(std::move(all)),
        memory_(path_) {}

  // Once.
  Result<FileIndex> read() {
    for (const std::string& name : all_.files) {
      CAIRN_TRY(file, open_named_shard(location_, name, path_));
      facts_.shards.push_back({name, format::ShardKind::AnyFile, file.identity});
      files_.push_back(std::move(file));
    }
    for (const std::string& sentence : all_.left_out) leave_out(sentence);
    for (const ChunkedTensor& tensor : all_.tensors) CAIRN_CHECK(add(tensor));
    for (const SavedValue& value : all_.values) CAIRN_CHECK(add(value));
    if (left_out_count_ > kSentencesMax)
      leave_out(std::to_string(left_out_count_ - kSentencesMax) + " more are left out");
    if (facts_.tensors.empty()) return nothing_there();
    CAIRN_CHECK(sort());
    count_shard_bytes(facts_);
    const std::uint64_t part_count = files_.size() + 1;
    FileIndex index{
        std::move(files_.front()), std::move(facts_), std::move(left_out_), part_count, {}, {}};
    index.warnings = std::move(warnings_);
    index.others.assign(std::make_move_iterator(files_.begin() + 1),
                        std::make_move_iterator(files_.end()));
    CAIRN_CHECK(memory_.decoded().finish(all_.files.front(), index));
    return index;
  }

 private:
  void leave_out(const std::string& sentence) { left_out_.push_back(path_ + ": " + sentence); }

  Error nothing_there() const {
    if (!left_out_.empty()) return nothing_readable(path_, left_out_);
    return {Code::Unsupported, 0, path_ + ": the checkpoint has no tensor"};
  }

  static Error broken(const std::string& why) { return {Code::Corrupt, 0, why}; }
  static Error not_readable(const std::string& why) { return {Code::Unsupported, 0, why}; }

  // ---- Items ----

  Result<ReadItem> read_item(const Item& item, std::string_view name) {
    const OpenShard& file = files_[item.file];
    if (!format::inside(item.offset_bytes, item.size_bytes, file.identity.size_bytes)) {
      return broken(file.file.path() + ": has " + std::to_string(file.identity.size_bytes) +
                    " bytes, and " + std::to_string(item.size_bytes) + " bytes at byte " +
                    std::to_string(item.offset_bytes) +
                    " are to be in it: it is truncated, or of another checkpoint");
    }
    CAIRN_TRY(archive,
              TorchArchive::open(file.file, {item.offset_bytes, item.size_bytes}, memory_));
    const auto* const data = archive.record("data.pkl");
    if (data == nullptr)
      return broken(file.file.path() + ": the archive at byte " +
                    std::to_string(item.offset_bytes) + " has no member data.pkl");
    CAIRN_TRY(big_endian, archive.is_big_endian());
    CAIRN_TRY(saved,
              archive.read_pickle(*data, {.name = name, .expand = location_.formats.expand}));
    return ReadItem{std::move(saved), big_endian};
  }

  // Gives the tensor, whose span lies in a storage of the item, its place among the shards.
  Result<void> place(StoredTensor& stored, const ReadItem& item, std::uint32_t file) {
    format::Span& span = stored.facts.span;
    if (span.size_bytes == 0) {
      span = {};
      return {};
    }
    const StoragePlace& storage = item.saved.places[span.shard];
    if (!storage.missing.empty()) return broken(storage.missing);
    if (!format::inside(span.offset_bytes, span.size_bytes, storage.size_bytes)) {
      return broken("its storage has " + std::to_string(storage.size_bytes) +
                    " bytes, and the pickle says that it has more");
    }
    const bool swapped = item.big_endian && format::swap_bytes(stored.facts.dtype).value_or(1) > 1;
    if (item.big_endian && stored.facts.opaque_block.bytes > 1)
      return not_readable("it is big-endian, and of the dtype " + stored.facts.opaque_dtype);
    if (!stored.has_own_order)
      stored.facts.other_byte_order = stored.facts.dtype != DType::Opaque && swapped;
    span.offset_bytes += storage.offset_bytes;
    span.shard = storage.shard == 0 ? file : decoded_shard();
    return stored.rearranged ? put_in_order(*stored.rearranged, item.big_endian, span)
                             : Result<void>();
  }

  std::uint32_t decoded_shard() const { return static_cast<std::uint32_t>(files_.size()); }

  Result<void> put_in_order(const format::torch::Rearranged& layout, bool big_endian,
                            format::Span& span) {
    const os::File& file =
        span.shard == decoded_shard() ? memory_.decoded().file() : files_[span.shard].file;
    CAIRN_TRY(ordered, memory_.put_in_order(layout, span, file, big_endian));
    span = ordered;
    span.shard = decoded_shard();
    return {};
  }

  // ---- Tensors ----

  Result<void> add(const ChunkedTensor& tensor) {
    auto facts = read_tensor(tensor);
    if (facts) {
      facts->name = tensor.name;
      facts_.tensors.push_back(*std::move(facts));
      return {};
    }
    const std::string what = path_ + ": tensor " + format::quoted(tensor.name) + ": ";
    return left_out_or_error(what, std::move(facts).error());
  }

  Result<TensorFacts> read_tensor(const ChunkedTensor& tensor) {
    CAIRN_CHECK(check_cover(tensor));
    if (tensor.chunks.empty()) return empty(tensor);
    if (tensor.chunks.size() > 1) return join(tensor);
    CAIRN_TRY(stored, read_chunk(tensor, tensor.chunks.front()));
    return stored;
  }

  // The chunks become slices.
  Result<TensorFacts> join(const ChunkedTensor& tensor) {
    TensorFacts whole;
    for (const Chunk& chunk : tensor.chunks) {
      CAIRN_TRY(stored, read_chunk(tensor, chunk));
      if (stored.dtype == DType::Opaque && stored.opaque_bits % 8 != 0)
        return not_readable("its elements are smaller than a byte, and it is stored in chunks");
      if (!whole.slices.empty() && whole.other_byte_order != stored.other_byte_order)
        return not_readable("its chunks are of different byte orders");
      if (!stored.strides.empty())
        CAIRN_CHECK(put_in_order(in_order(stored), stored.other_byte_order, stored.span));
      format::SliceFacts slice{{}, stored.span};
      for (std::size_t i = 0; i < chunk.sizes.size(); ++i)
        slice.extents.push_back({chunk.offsets[i], chunk.sizes[i]});
      whole.dtype = stored.dtype;
      whole.opaque_dtype = std::move(stored.opaque_dtype);
      whole.opaque_bits = stored.opaque_bits;
      whole.opaque_block = stored.opaque_block;
      whole.other_byte_order = stored.other_byte_order;
      whole.slices.push_back(std::move(slice));
    }
    whole.shape = tensor.shape;
    return whole;
  }

  // Nobody saves a chunk of an empty tensor.
  static Result<TensorFacts> empty(const ChunkedTensor& tensor) {
    std::vector<std::int64_t> strides(tensor.shape.size(), 0);
    auto stored = format::torch::placed({}, {0, tensor.shape, std::move(strides), tensor.dtype});
    if (!stored) return Error{stored.error().code, 0, stored.error().what};
    return std::move(stored->facts);
  }

  // Each element is in one chunk.
  static Result<void> check_cover(const ChunkedTensor& tensor) {
    std::vector<Box> boxes;
    std::uint64_t found = 0;
    for (const Chunk& chunk : tensor.chunks) {
      boxes.push_back(box_of(chunk));
      found = format::checked_add(found, element_count(boxes.back())).value_or(~std::uint64_t{0});
    }
    CAIRN_TRY(pair, overlapping(boxes));
    if (pair) {
      return broken("its chunks at " + text_of(tensor.chunks[pair->first].offsets) + " and " +
                    text_of(tensor.chunks[pair->second].offsets) + " overlap");
    }
    const auto count = format::element_count(tensor.shape);
    if (count == found) return {};
    return broken("its chunks have " + std::to_string(found) + " of its " +
                  std::to_string(count.value_or(0)) + " elements: the others are stored nowhere");
  }

  Result<TensorFacts> read_chunk(const ChunkedTensor& tensor, const Chunk& chunk) {
    CAIRN_TRY(item, read_item(chunk.item, {}));
    auto& contents = item.saved.contents;
    if (!contents.is_lone || contents.tensors.size() != 1) {
      return contents.left_out.empty() ? broken("what is stored of its chunk at " +
                                                text_of(chunk.offsets) + " is no tensor")
                                       : not_readable(contents.left_out.front());
    }
    StoredTensor stored = std::move(contents.tensors.front());
    CAIRN_CHECK(check_same(tensor, chunk, stored.facts));
    CAIRN_CHECK(place(stored, item, chunk.item.file));
    return std::move(stored.facts);
  }

  static Result<void> check_same(const ChunkedTensor& tensor, const Chunk& chunk,
                                 const TensorFacts& stored) {
    const auto& dtype = *tensor.dtype;
    if (stored.dtype != dtype.dtype || stored.opaque_dtype != dtype.opaque) {
      return broken("what is stored of its chunk at " + text_of(chunk.offsets) +
                    " has another dtype than " + std::string(dtype.name));
    }
    std::vector<std::int64_t> sizes = chunk.sizes;
    if (stored.opaque_dtype == "F4" && !sizes.empty()) sizes.back() *= 2;  // fits, as stored's does
    if (stored.shape == sizes) return {};
    return broken("what is stored of its chunk at " + text_of(chunk.offsets) + " has the shape " +
                  text_of(stored.shape) + ", and not " + text_of(sizes));
  }

  // ---- Values ----

  // Numbers and texts become metadata, and what is in lists and dicts is called as in a file of
  // torch.save.
  Result<void> add(const SavedValue& value) {
    auto done = read_value(value);
    if (done) return done;
    const std::string what = path_ + ": the value " + format::quoted(value.name) + ": ";
    return left_out_or_error(what, std::move(done).error());
  }

  Result<void> read_value(const SavedValue& value) {
    CAIRN_TRY(item, read_item(value.item, value.name));
    auto& contents = item.saved.contents;
    for (const std::string& sentence : contents.left_out) leave_out(sentence);
    for (const std::string& sentence : contents.warnings)
      warnings_.push_back(path_ + ": " + sentence);
    std::ranges::move(contents.metadata, std::back_inserter(facts_.metadata));
    for (StoredTensor& stored : contents.tensors) {
      CAIRN_CHECK(place(stored, item, value.item.file));
      facts_.tensors.push_back(std::move(stored.facts));
    }
    return {};
  }

  // ----

  // What is damaged is an error, unless what is whole is wanted.
  Result<void> left_out_or_error(const std::string& what, Error error) {
    const bool damaged = error.code == Code::Corrupt;
    error.what = what + error.what;
    if ((damaged && whole_) || (!damaged && error.code != Code::Unsupported)) return error;
    if (++left_out_count_ <= kSentencesMax) left_out_.push_back(error.what + "; it is left out");
    return {};
  }

  Result<void> sort() {
    format::sort_by_name(facts_.tensors);
    if (const TensorFacts* const twice = format::find_twice(facts_.tensors))
      return broken(path_ + ": two tensors are called " + format::quoted(twice->name));
    std::ranges::sort(facts_.metadata);
    const auto rest =
        std::ranges::unique(facts_.metadata, {}, &format::KeyValues::value_type::first);
    facts_.metadata.erase(rest.begin(), rest.end());
    return {};
  }

  static constexpr std::size_t kSentencesMax = 20;  // stops a flood of warnings

  const Location& location_;
  const std::string path_;
  const bool whole_;
  const Distributed all_;
  TorchMemory memory_;
  std::vector<OpenShard> files_;
  format::IndexFacts facts_;
  std::vector<std::string> left_out_;
  std::uint64_t left_out_count_ = 0;  // with those that are in no sentence
  std::vector<std::string> warnings_;
};

}  // namespace

Result<FileIndex> read_torch_distributed(OpenShard file, const FileReadOptions& how) {
  const std::string path = file.file.path();
  CAIRN_TRY(bytes, os::read_whole(file.file, format::limits::kPickleBytesMax));
  const auto pickle = format::pickle::decode(bytes, format::pickle::Input::Whole);
  if (!pickle) return named_for_what_it_is(file.file, error_of(path, pickle.error()));
  auto all = format::torch::decode_distributed(**pickle, {how.whole, bytes.size()});
  if (!all) return Error{all.error().code, 0, path + ": " + all.error().what};
  const std::uint64_t part_count = all->files.size() + 1;
  if (how.model == nullptr) return FileIndex{std::move(file), {}, {}, part_count, {}, {}};
  return DistributedReader(*how.model, path, how.whole, *std::move(all)).read();
}

}  // namespace cairn::internal
