// Tensors that are not row-major: another order of dimensions (Fortran's), or rows with gaps after
// them. Reading puts the elements into row-major order, one contiguous run at a time.

#include <algorithm>
#include <cstring>

#include "lib/read/open_checkpoint.h"
#include "lib/read/run_copier.h"
#include "lib/read/slices.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// One dimension of what is asked for, in elements.
struct Axis {
  std::uint64_t count;
  std::uint64_t from_stride;  // in the file
  std::uint64_t to_stride;    // in the caller's memory
};

// The dimensions, the one whose elements lie farthest apart in the file first.
std::vector<Axis> axes_of(const Box& box, std::span<const std::int64_t> strides) {
  std::vector<Axis> axes(box.size());
  std::uint64_t to_stride = 1;
  for (std::size_t i = box.size(); i-- > 0;) {
    const auto count = static_cast<std::uint64_t>(box[i].count);
    axes[i] = {count, static_cast<std::uint64_t>(strides[i]), to_stride};
    to_stride *= count;
  }
  std::ranges::sort(axes, std::ranges::greater(), &Axis::from_stride);
  return axes;
}

// Puts one run of the file, `bytes`, to where its elements belong.
void scatter(std::span<const std::byte> bytes, std::uint64_t element_bytes, std::byte* to,
             std::uint64_t to_stride) {
  if (to_stride == 1) {
    std::memcpy(to, bytes.data(), bytes.size());
    return;
  }
  for (std::uint64_t at = 0; at < bytes.size(); at += element_bytes) {
    std::memcpy(to, bytes.data() + at, element_bytes);
    to += to_stride * element_bytes;
  }
}

}  // namespace

Result<void> OpenCheckpoint::read_strided(std::size_t position, std::span<std::byte> out,
                                          const Box& box) const {
  if (out.empty()) return {};
  const auto tensor = index().tensor(position);
  CAIRN_CHECK(shards_.ensure_not_faulted(tensor.span.shard));
  CAIRN_CHECK(checks_.ensure(position));
  const std::uint64_t element_bytes = tensor.element_bits / 8;
  std::vector<Axis> outer = axes_of(box, tensor.strides);
  const Axis inner = outer.back();
  outer.pop_back();
  // Elements of the inner dimension that lie together are one run.
  const std::uint64_t run = inner.from_stride == 1 ? inner.count : 1;
  std::uint64_t from = 0;
  for (std::size_t i = 0; i < box.size(); ++i)
    from +=
        static_cast<std::uint64_t>(box[i].start) * static_cast<std::uint64_t>(tensor.strides[i]);
  std::uint64_t to = 0;
  std::vector<std::uint64_t> at(outer.size());
  std::vector<std::byte> bytes(run * element_bytes);
  RunCopier copier(*this, tensor.span);
  while (true) {
    for (std::uint64_t i = 0; i < inner.count; i += run) {
      CAIRN_CHECK(copier.copy((from + i * inner.from_stride) * element_bytes, bytes));
      scatter(bytes, element_bytes, out.data() + (to + i * inner.to_stride) * element_bytes,
              inner.to_stride);
    }
    std::size_t axis = outer.size();
    while (axis-- > 0) {
      from += outer[axis].from_stride;
      to += outer[axis].to_stride;
      if (++at[axis] < outer[axis].count) break;
      from -= at[axis] * outer[axis].from_stride;
      to -= at[axis] * outer[axis].to_stride;
      at[axis] = 0;
    }
    if (axis == static_cast<std::size_t>(-1)) return {};
  }
}

}  // namespace cairn::internal
