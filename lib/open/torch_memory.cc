#include "lib/open/torch_memory.h"

#include <algorithm>
#include <span>
#include <vector>

#include "format/checked.h"
#include "format/le.h"
#include "format/pickle/text.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::torch::Rearranged;

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

}  // namespace

Result<void> TorchMemory::reserve(std::uint64_t bytes) {
  reserved_bytes_ = format::checked_add(reserved_bytes_, bytes).value_or(~std::uint64_t{0});
  if (bytes == 0) return {};
  return check_memory({reserved_bytes_, path_ + ": its tensors that are not plain bytes",
                       "a file that torch.save writes of contiguous tensors needs none"});
}

Result<std::uint64_t> TorchMemory::add_pickled(const format::torch::Storage& storage) {
  CAIRN_CHECK(reserve(storage.size_bytes));
  const std::uint64_t begin = decoded_.begin();
  if (storage.form == format::torch::PickledForm::Bytes) {
    CAIRN_CHECK(decoded_.add(format::as_bytes(storage.pickled)));
    return begin;
  }
  constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20;
  std::string_view left = storage.pickled;
  std::vector<std::byte> block;
  for (std::uint64_t done = 0; done < storage.size_bytes; done += block.size()) {
    block.resize(std::min(kBlockBytes, storage.size_bytes - done));
    format::pickle::take_latin1(left, block);
    CAIRN_CHECK(decoded_.add(block));
  }
  return begin;
}

Result<format::Span> TorchMemory::put_in_order(const Rearranged& layout, const format::Span& stored,
                                               const os::File& file, bool big_endian) {
  constexpr std::size_t kBlockBytes = std::size_t{1} << 20;
  const std::uint64_t count = format::element_count(layout.shape).value_or(0);
  const std::uint64_t dense_bytes = count * layout.element_bytes;
  CAIRN_CHECK(reserve(dense_bytes));
  CAIRN_CHECK(reserve(stored.size_bytes));
  std::vector<std::byte> stored_bytes(stored.size_bytes);
  CAIRN_CHECK(file.read_at(stored.offset_bytes, stored_bytes));
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
      turn_signs(std::span(block).last(layout.element_bytes), layout, big_endian);
    if (block.size() + layout.element_bytes <= kBlockBytes && i + 1 < count) continue;
    CAIRN_CHECK(decoded_.add(block));
    block.clear();
  }
  return decoded_.end(0);
}

}  // namespace cairn::internal
