#include "lib/open/torch_index.h"

#include <utility>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/plain_facts.h"
#include "format/quoted.h"
#include "format/sorted.h"
#include "lib/open/shard_bytes.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::TensorFacts;
using format::torch::Contents;

// What a tensor is called that is in nothing: as its file is.
std::string stem_of(const std::string& file_name) {
  const std::size_t dot = file_name.rfind('.');
  return dot == std::string::npos || dot == 0 ? file_name : file_name.substr(0, dot);
}

bool is_swapped(const TensorFacts& tensor) noexcept {
  return tensor.dtype != DType::Opaque && format::swap_bytes(tensor.dtype).value_or(1) > 1;
}

}  // namespace

Result<void> TorchIndex::add(Contents contents, const std::vector<StoragePlace>& places) {
  const std::string path = file_.path() + ": ";
  is_of_several_ |= !is_empty();
  for (const std::string& sentence : contents.left_out) left_out_.push_back(path + sentence);
  for (const std::string& sentence : contents.warnings) warnings_.push_back(path + sentence);
  facts_.metadata = std::move(contents.metadata);
  if (big_endian_ || !place_all(contents.plain, places)) {
    format::torch::append_stored(contents.plain, contents.tensors);
    contents.plain = {};
  }
  if (is_empty()) {
    plain_ = std::move(contents.plain);
  } else {
    format::append_facts(contents.plain, facts_.tensors);
  }
  for (StoredTensor& stored : contents.tensors) {
    if (contents.is_lone) stored.facts.name = stem_of(how_.name);
    CAIRN_TRY(placed, place(stored, places));
    if (!placed) continue;
    if (!stored.has_own_order)
      stored.facts.other_byte_order = big_endian_ && is_swapped(stored.facts);
    facts_.tensors.push_back(std::move(stored.facts));
  }
  return {};
}

// False: the tensor is left out. Corrupt: it would be, and the checkpoint is to be whole.
Result<bool> TorchIndex::lacks(const StoredTensor& stored, const std::string& why) {
  const std::string what = "tensor " + format::quoted(stored.facts.name) + ": " + why;
  if (how_.whole) return Error{Code::Corrupt, 0, file_.path() + ": " + what};
  left_out_.push_back(file_.path() + ": " + what + "; it is left out");
  return false;
}

// False: one of them does not have its bytes, and nothing is changed.
bool TorchIndex::place_all(format::PlainTensors& plain, const std::vector<StoragePlace>& places) {
  for (const format::TensorRecord& tensor : plain.records()) {
    const StoragePlace& storage = places[tensor.shard];
    if (!storage.missing.empty() ||
        !format::inside(tensor.offset_bytes, tensor.size_bytes, storage.size_bytes))
      return false;
  }
  for (format::TensorRecord& tensor : plain.records()) {
    const StoragePlace& storage = places[tensor.shard];
    tensor.shard = storage.shard;
    tensor.offset_bytes += storage.offset_bytes;
  }
  return true;
}

// Whether the tensor has its bytes.
Result<bool> TorchIndex::place(StoredTensor& stored, const std::vector<StoragePlace>& places) {
  format::Span& span = stored.facts.span;
  const StoragePlace& storage = places[span.shard];
  const bool empty = span.size_bytes == 0;
  if (!storage.missing.empty() && !empty) return lacks(stored, storage.missing);
  if (!format::inside(span.offset_bytes, span.size_bytes, storage.size_bytes) && !empty) {
    return lacks(stored, "its storage has " + std::to_string(storage.size_bytes) +
                             " bytes, and the pickle says that it has more");
  }
  if (big_endian_ && !stored.has_own_order && stored.facts.dtype == DType::Opaque &&
      stored.facts.opaque_block.bytes > 1) {
    left_out_.push_back(file_.path() + ": tensor " + format::quoted(stored.facts.name) +
                        " is left out: it is big-endian, and of the dtype " +
                        stored.facts.opaque_dtype);
    return false;
  }
  span.shard = empty ? 0 : storage.shard;
  span.offset_bytes = empty ? 0 : span.offset_bytes + storage.offset_bytes;
  if (!stored.rearranged) return true;
  const os::File& file = span.shard == 0 ? file_ : memory_.decoded().file();
  CAIRN_TRY(ordered, memory_.put_in_order(*stored.rearranged, span, file, big_endian_));
  span = ordered;
  span.shard = 1;
  return true;
}

Result<FileIndex> TorchIndex::finish(OpenShard file) {
  if (is_empty() && !left_out_.empty()) return nothing_readable(file.file.path(), left_out_);
  if (is_of_several_) {
    format::append_facts(plain_, facts_.tensors);
    format::sort_by_name(facts_.tensors);
    if (const TensorFacts* const twice = format::find_twice(facts_.tensors)) {
      return Error{Code::Corrupt, 0,
                   file_.path() + ": two tensors are called " + format::quoted(twice->name)};
    }
  }
  FileIndex index{std::move(file), {}, std::move(left_out_), 1, {}, {}};
  index.warnings = std::move(warnings_);
  facts_.shards.push_back({how_.name, format::ShardKind::AnyFile, index.shard.identity});
  if (how_.plain && facts_.tensors.empty()) {
    count_shard_bytes(facts_.shards, plain_);
    index.plain = std::move(plain_);
  } else {
    count_shard_bytes(facts_);
  }
  index.facts = std::move(facts_);
  CAIRN_CHECK(memory_.decoded().finish(how_.name, index));
  return index;
}

Error nothing_readable(const std::string& path, const std::vector<std::string>& left_out) {
  return {Code::Unsupported, 0,
          path + ": no tensor of it can be read; the first reason is: " +
              left_out.front().substr(path.size() + 2)};
}

}  // namespace cairn::internal
