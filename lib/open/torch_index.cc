#include "lib/open/torch_index.h"

#include <algorithm>
#include <array>
#include <utility>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/quoted.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::TensorFacts;
using format::torch::Contents;
using format::torch::Rearranged;

// What a tensor is called that is in nothing: as its file is.
std::string stem_of(const std::string& file_name) {
  const std::size_t dot = file_name.rfind('.');
  return dot == std::string::npos || dot == 0 ? file_name : file_name.substr(0, dot);
}

// Goes through the elements of a tensor in row-major order; gives where each lies.
class Odometer {
 public:
  explicit Odometer(const Rearranged& layout) : layout_(layout), at_(layout.shape.size()) {}

  std::uint64_t element() const noexcept { return element_; }
  void next() noexcept {
    for (std::size_t i = at_.size(); i-- > 0;) {
      element_ += static_cast<std::uint64_t>(layout_.strides[i]);
      if (++at_[i] < layout_.shape[i]) return;
      element_ -= static_cast<std::uint64_t>(layout_.strides[i] * at_[i]);
      at_[i] = 0;
    }
  }

 private:
  const Rearranged& layout_;
  std::vector<std::int64_t> at_;
  std::uint64_t element_ = 0;
};

// Turns the signs of an element: of all its numbers if it is negated, of the imaginary one if it is
// conjugated, and back if it is both.
void turn_signs(std::span<std::byte> element, const Rearranged& layout, bool big_endian) {
  const std::size_t sign_at =
      big_endian ? layout.number_bytes - 1 - layout.sign_at : layout.sign_at;
  for (std::size_t at = 0; at < element.size(); at += layout.number_bytes) {
    const bool turned = layout.negated != (layout.conjugated && at != 0);
    if (turned) element[at + sign_at] ^= std::byte{0x80};
  }
}

bool is_swapped(const TensorFacts& tensor) noexcept {
  return tensor.dtype != DType::Opaque && format::swap_bytes(tensor.dtype).value_or(1) > 1;
}

}  // namespace

Result<void> TorchIndex::reserve(std::uint64_t bytes) {
  reserved_bytes_ = format::checked_add(reserved_bytes_, bytes).value_or(~std::uint64_t{0});
  if (bytes == 0) return {};
  return check_memory({reserved_bytes_, file_.path() + ": its tensors that are not plain bytes",
                       "a file that torch.save writes of contiguous tensors needs none"});
}

Result<void> TorchIndex::add(Contents contents, const std::vector<StoragePlace>& places) {
  const std::string path = file_.path() + ": ";
  for (const std::string& sentence : contents.left_out) left_out_.push_back(path + sentence);
  for (const std::string& sentence : contents.warnings) warnings_.push_back(path + sentence);
  facts_.metadata = std::move(contents.metadata);
  facts_.tensors.reserve(contents.tensors.size());
  for (StoredTensor& stored : contents.tensors) {
    if (contents.is_lone) stored.facts.name = stem_of(how_.name);
    CAIRN_TRY(placed, place(stored, places));
    if (!placed) continue;
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
  if (big_endian_ && stored.facts.dtype == DType::Opaque && stored.facts.opaque_block.bytes > 1) {
    left_out_.push_back(file_.path() + ": tensor " + format::quoted(stored.facts.name) +
                        " is left out: it is big-endian, and of the dtype " +
                        stored.facts.opaque_dtype);
    return false;
  }
  span.shard = empty ? 0 : storage.shard;
  span.offset_bytes = empty ? 0 : span.offset_bytes + storage.offset_bytes;
  if (stored.rearranged) CAIRN_CHECK(rearrange(stored));
  return true;
}

// Copies the tensor's elements into memory, in row-major order, each once for every place that it
// has.
Result<void> TorchIndex::rearrange(StoredTensor& stored) {
  constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
  const Rearranged& layout = *stored.rearranged;
  format::Span& span = stored.facts.span;
  const std::uint64_t count = format::element_count(layout.shape).value_or(0);
  const std::uint64_t dense_bytes = count * layout.element_bytes;
  CAIRN_CHECK(reserve(dense_bytes));
  CAIRN_CHECK(reserve(span.size_bytes));
  std::vector<std::byte> stored_bytes(span.size_bytes);
  if (span.shard == 0) {
    CAIRN_CHECK(file_.read_at(span.offset_bytes, stored_bytes));
  } else {
    CAIRN_CHECK(decoded_.file().read_at(span.offset_bytes, stored_bytes));
  }
  decoded_.begin();
  std::vector<std::byte> block;
  block.reserve(std::min<std::uint64_t>(dense_bytes, kBlockBytes));
  Odometer odometer(layout);
  for (std::uint64_t i = 0; i < count; ++i, odometer.next()) {
    const auto element =
        std::span(stored_bytes)
            .subspan(odometer.element() * layout.element_bytes, layout.element_bytes);
    block.insert(block.end(), element.begin(), element.end());
    if (layout.conjugated || layout.negated)
      turn_signs(std::span(block).last(layout.element_bytes), layout, big_endian_);
    if (block.size() + layout.element_bytes <= kBlockBytes && i + 1 < count) continue;
    CAIRN_CHECK(decoded_.add(block));
    block.clear();
  }
  span = decoded_.end(1);
  return {};
}

// Of the file's tensors, those that share bytes once.
std::uint64_t TorchIndex::live_bytes() const {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const TensorFacts& tensor : facts_.tensors) {
    if (tensor.span.shard == 0 && tensor.span.size_bytes != 0)
      ranges.emplace_back(tensor.span.offset_bytes,
                          tensor.span.offset_bytes + tensor.span.size_bytes);
  }
  std::ranges::sort(ranges);
  std::uint64_t bytes = 0;
  std::uint64_t end = 0;
  for (const auto& [first, last] : ranges) {
    bytes += last > end ? last - std::max(first, end) : 0;
    end = std::max(end, last);
  }
  return bytes;
}

Result<FileIndex> TorchIndex::finish(OpenShard file) {
  if (facts_.tensors.empty() && !left_out_.empty())
    return nothing_readable(file.file.path(), left_out_);
  FileIndex index{std::move(file), {}, std::move(left_out_), 1, {}, {}};
  index.warnings = std::move(warnings_);
  format::ShardFacts shard{how_.name, format::ShardKind::AnyFile, index.shard.identity};
  shard.live_bytes = live_bytes();
  shard.head_bytes = shard.identity.size_bytes;
  for (TensorFacts& tensor : facts_.tensors) {
    if (tensor.span.shard == 0 && tensor.span.size_bytes != 0)
      shard.head_bytes = std::min(shard.head_bytes, tensor.span.offset_bytes);
  }
  for (TensorFacts& tensor : facts_.tensors) {
    if (tensor.span.size_bytes == 0) tensor.span = {0, shard.head_bytes, 0, std::nullopt};
  }
  facts_.shards.push_back(std::move(shard));
  index.facts = std::move(facts_);
  CAIRN_CHECK(decoded_.finish(how_.name, index));
  return index;
}

Error nothing_readable(const std::string& path, const std::vector<std::string>& left_out) {
  return {Code::Unsupported, 0,
          path + ": no tensor of it can be read; the first reason is: " +
              left_out.front().substr(path.size() + 2)};
}

}  // namespace cairn::internal
