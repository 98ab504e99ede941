// Where the elements of a tensor lie: in one span, or, if it is partitioned, in its stored slices,
// which may be in any order and in any shard, and some of which may be missing.
//
// Overlapping slices have no meaning, so a tensor that has them cannot be read at all, even if the
// request does not touch them (this is TensorFlow's rule too). A gap is an error only for a request
// that needs its elements.

#include <algorithm>

#include "format/checked.h"
#include "format/quoted.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// A stored slice as a range of the whole tensor's elements.
struct ElementRange {
  std::uint64_t start = 0;
  std::uint64_t count = 0;
  format::Span span;
};

}  // namespace

Result<std::vector<StoredPart>> OpenCheckpoint::parts_of(std::size_t position,
                                                         const Box& box) const {
  const auto tensor = index().tensor(position);
  std::vector<StoredPart> parts;
  if (!tensor.partitioned()) {
    if (element_count(box) != 0) parts.push_back({tensor.span, 0, whole_box(tensor.shape), box});
    return parts;
  }
  CAIRN_CHECK(checks_.ensure_disjoint(position));
  std::uint64_t found = 0;
  for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i) {
    const auto stored = index().slice(i);
    Box piece = box_of(stored.extents, tensor.shape);
    auto shared = intersection(piece, box);
    if (!shared) continue;
    found += element_count(*shared);
    parts.push_back({stored.span, i, std::move(piece), *std::move(shared)});
  }
  if (found == element_count(box)) return parts;
  return about(position, Code::Corrupt,
               "has slices that leave gaps in the requested slice: they have " +
                   std::to_string(found) + " of its " + std::to_string(element_count(box)) +
                   " elements");
}

std::optional<format::Span> OpenCheckpoint::one_span(std::size_t position) const {
  const auto tensor = index().tensor(position);
  if (!tensor.partitioned()) return tensor.span;
  if (!is_addressable(tensor)) return std::nullopt;
  std::vector<ElementRange> stretches;
  for (std::uint32_t i = tensor.slices_begin; i < tensor.slices_end; ++i) {
    const auto stored = index().slice(i);
    const Box box = box_of(stored.extents, tensor.shape);
    const auto start = start_of_run(box, tensor.shape);
    if (!start) return std::nullopt;
    stretches.push_back({*start, element_count(box), stored.span});
  }
  std::ranges::sort(stretches, {}, &ElementRange::start);
  format::Span whole{stretches.front().span.shard, stretches.front().span.offset_bytes, 0, {}};
  std::uint64_t next = 0;
  for (const ElementRange& stretch : stretches) {
    if (stretch.start != next || stretch.span.shard != whole.shard ||
        stretch.span.offset_bytes != whole.offset_bytes + whole.size_bytes)
      return std::nullopt;
    next += stretch.count;
    whole.size_bytes += stretch.span.size_bytes;
  }
  if (next != format::element_count(tensor.shape)) return std::nullopt;
  return whole;
}

}  // namespace cairn::internal
