#include "lib/read/slices.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::size_t kComparisonsMax = 20'000'000;  // about a second

// How many elements lie before this position, counted in rows of the box.
std::uint64_t position_in(const Box& box, const std::vector<std::int64_t>& at) {
  std::uint64_t position = 0;
  for (std::size_t d = 0; d < box.size(); ++d) {
    position = position * static_cast<std::uint64_t>(box[d].count) +
               static_cast<std::uint64_t>(at[d] - box[d].start);
  }
  return position;
}

// From which dimension on the shared elements are whole in both boxes, so that they lie together.
std::size_t first_whole_dimension(const Box& piece, const Box& output, const Box& shared) {
  std::size_t d = shared.size();
  while (d > 0 && shared[d - 1].count == piece[d - 1].count &&
         shared[d - 1].count == output[d - 1].count)
    --d;
  return d;
}

// The next position of the outer dimensions, last one fastest. false: that was the last.
bool advance(const Box& shared, std::size_t outer, std::vector<std::int64_t>& at) {
  for (std::size_t d = outer; d > 0; --d) {
    if (++at[d - 1] < shared[d - 1].start + shared[d - 1].count) return true;
    at[d - 1] = shared[d - 1].start;
  }
  return false;
}

// The dimension in which the boxes have the most different beginnings.
std::size_t dimension_cut_most(std::span<const Box> boxes) {
  std::size_t most = 0;
  std::size_t dimension = 0;
  for (std::size_t d = 0; d < boxes.front().size(); ++d) {
    std::vector<std::int64_t> starts;
    for (const Box& box : boxes) starts.push_back(box[d].start);
    std::ranges::sort(starts);
    starts.erase(std::ranges::unique(starts).begin(), starts.end());
    if (starts.size() <= most) continue;
    most = starts.size();
    dimension = d;
  }
  return dimension;
}

// Whether the boxes share an element. Asked millions of times: it allocates nothing.
bool share_any(const Box& a, const Box& b) noexcept {
  for (std::size_t d = 0; d < a.size(); ++d) {
    const std::int64_t start = std::max(a[d].start, b[d].start);
    if (std::min(a[d].start + a[d].count, b[d].start + b[d].count) <= start) return false;
  }
  return true;
}

}  // namespace

Result<Box> box_of(Slice slice, std::span<const std::int64_t> shape) {
  Box box(shape.size());
  if (!slice.empty() && slice.size() != shape.size()) {
    return Error{Code::Invalid, 0,
                 "a slice of " + std::to_string(slice.size()) + " ranges for a tensor of " +
                     std::to_string(shape.size()) + " dimensions"};
  }
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const Range range = slice.empty() ? Range{} : slice[d];
    const bool start_fits = range.start >= 0 && range.start <= shape[d];
    const std::int64_t left = start_fits ? shape[d] - range.start : 0;
    if (!start_fits || range.count < -1 || range.count > left) {
      return Error{Code::Invalid, 0,
                   "dimension " + std::to_string(d) + " has " + std::to_string(shape[d]) +
                       " elements, but the slice needs " + std::to_string(range.count) +
                       " from element " + std::to_string(range.start)};
    }
    box[d] = {range.start, range.count == -1 ? left : range.count};
  }
  return box;
}

Box box_of(std::span<const format::Extent> extents, std::span<const std::int64_t> shape) {
  Box box(shape.size());
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const bool whole = extents[d].length == format::Extent::kWhole;
    box[d] = {extents[d].start, whole ? shape[d] : extents[d].length};
  }
  return box;
}

Box whole_box(std::span<const std::int64_t> shape) {
  Box box;
  for (const std::int64_t size : shape) box.push_back({0, size});
  return box;
}

std::uint64_t element_count(const Box& box) noexcept {
  std::uint64_t count = 1;
  for (const Range& range : box) count *= static_cast<std::uint64_t>(range.count);
  return count;
}

std::optional<Box> intersection(const Box& a, const Box& b) {
  Box shared(a.size());
  for (std::size_t d = 0; d < a.size(); ++d) {
    const std::int64_t start = std::max(a[d].start, b[d].start);
    const std::int64_t end = std::min(a[d].start + a[d].count, b[d].start + b[d].count);
    if (end <= start) return std::nullopt;
    shared[d] = {start, end - start};
  }
  return shared;
}

// A sweep along the dimension in which the boxes have the most different beginnings: a box is
// compared with those that contain its beginning. In the grids that partitioners make, these are
// the boxes of one row.
Result<Overlap> overlapping(std::span<const Box> boxes) {
  if (boxes.size() < 2) return Overlap();
  if (boxes.front().empty()) return Overlap(std::pair(0, 1));  // scalars
  const std::size_t d = dimension_cut_most(boxes);
  std::vector<std::size_t> order(boxes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(boxes[i][d].start, i); });
  std::vector<std::size_t> open;
  std::size_t comparisons = 0;
  for (const std::size_t i : order) {
    std::erase_if(open, [&](std::size_t other) {
      return boxes[other][d].start + boxes[other][d].count <= boxes[i][d].start;
    });
    comparisons += open.size();
    if (comparisons > kComparisonsMax) {
      return Error{Code::Unsupported, 0,
                   "has " + std::to_string(boxes.size()) +
                       " slices in an order that takes too long to compare"};
    }
    for (const std::size_t other : open) {
      if (share_any(boxes[i], boxes[other])) return Overlap(std::minmax(i, other));
    }
    open.push_back(i);
  }
  return Overlap();
}

std::optional<std::uint64_t> start_of_run(const Box& box, std::span<const std::int64_t> shape) {
  const Box whole = whole_box(shape);
  // Behind the first dimension that holds more than one element, all must be whole.
  std::size_t d = 0;
  while (d < box.size() && box[d].count == 1) ++d;
  std::vector<std::int64_t> at;
  for (const Range& range : box) at.push_back(range.start);
  for (++d; d < box.size(); ++d) {
    if (box[d].count != whole[d].count) return std::nullopt;
  }
  return position_in(whole, at);
}

Result<void> for_each_run(const Box& piece, const Box& output, const Box& shared,
                          std::uint64_t element_bytes,
                          const std::function<Result<void>(const Run&)>& visit) {
  // The dimension before the whole ones contributes its shared part to the run; those further out
  // are walked.
  const std::size_t whole = first_whole_dimension(piece, output, shared);
  const std::size_t outer = whole == 0 ? 0 : whole - 1;
  std::uint64_t run_elements = 1;
  for (std::size_t d = outer; d < shared.size(); ++d)
    run_elements *= static_cast<std::uint64_t>(shared[d].count);
  std::vector<std::int64_t> at(shared.size());
  for (std::size_t d = 0; d < shared.size(); ++d) at[d] = shared[d].start;
  do {
    CAIRN_CHECK(visit({position_in(piece, at) * element_bytes,
                       position_in(output, at) * element_bytes, run_elements * element_bytes}));
  } while (advance(shared, outer, at));
  return {};
}

std::vector<bool> touched_blocks(const Box& piece, const Box& shared, std::uint64_t element_bytes,
                                 std::uint64_t block_bytes) {
  const std::uint64_t size_bytes = element_count(piece) * element_bytes;
  std::vector<bool> touched((size_bytes + block_bytes - 1) / block_bytes);
  (void)for_each_run(piece, shared, shared, element_bytes, [&](const Run& run) -> Result<void> {
    const std::uint64_t last = run.from_bytes + run.size_bytes - 1;
    for (std::uint64_t i = run.from_bytes / block_bytes; i <= last / block_bytes; ++i)
      touched[i] = true;
    return {};
  });
  return touched;
}

void swap_in_place(std::span<std::byte> bytes, std::uint32_t width) {
  if (width < 2) return;
  for (std::size_t at = 0; at + width <= bytes.size(); at += width) {
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 bytes.begin() + static_cast<std::ptrdiff_t>(at + width));
  }
}

}  // namespace cairn::internal
