#include "lib/saver/sums_digest.h"

#include <cstdint>
#include <span>
#include <string_view>

#include "format/digest.h"
#include "format/le.h"

namespace cairn::internal {
namespace {

class SumsDigest {
 public:
  explicit SumsDigest(const format::IndexView& index) {
    for (std::size_t i = 0; i < index.tensor_count(); ++i) add(index, index.tensor(i));
  }
  Digest128 digest() const noexcept { return stream_.digest(); }

 private:
  void add(const format::IndexView& index, const format::IndexView::Tensor& tensor) {
    add_text(tensor.name);
    add_number(static_cast<std::uint64_t>(tensor.dtype));
    add_text(tensor.opaque_dtype);
    add_number(tensor.shape.size());
    stream_.update(std::as_bytes(tensor.shape));
    add_span(tensor.span);
    for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i) {
      const format::IndexView::Slice slice = index.slice(i);
      for (const format::Extent& extent : slice.extents) {
        add_number(static_cast<std::uint64_t>(extent.start));
        add_number(static_cast<std::uint64_t>(extent.length));
      }
      add_span(slice.span);
    }
  }
  void add_span(const format::Span& span) {
    add_number(span.size_bytes);
    add_number(span.crc32c ? *span.crc32c + (std::uint64_t{1} << 32) : 0);
  }
  void add_text(std::string_view text) {
    add_number(text.size());
    stream_.update(format::as_bytes(text));
  }
  void add_number(std::uint64_t number) { stream_.update(std::as_bytes(std::span(&number, 1))); }

  format::Xxh3Stream stream_;
};

}  // namespace

Digest128 digest_of_sums(const format::IndexView& index) { return SumsDigest(index).digest(); }

}  // namespace cairn::internal
