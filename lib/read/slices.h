#pragma once

// Boxes of elements (ranges in every dimension): which bytes of a stored slice go where in a
// caller's memory.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cairn/error.h"
#include "cairn/tensor.h"
#include "format/facts.h"

namespace cairn::internal {

// start and count for each dimension, inside the shape.
using Box = std::vector<Range>;

// The slice with its open ends filled in. Invalid: another rank, or outside the shape.
Result<Box> box_of(Slice slice, std::span<const std::int64_t> shape);
Box box_of(std::span<const format::Extent> extents, std::span<const std::int64_t> shape);
Box whole_box(std::span<const std::int64_t> shape);

std::uint64_t element_count(const Box& box) noexcept;

// The elements that two boxes share; std::nullopt: none.
std::optional<Box> intersection(const Box& a, const Box& b);

// The positions of two boxes that share an element; std::nullopt: no two do. The boxes are not
// empty and lie in one shape. Unsupported: comparing them would take too long, which happens in no
// real checkpoint.
using Overlap = std::optional<std::pair<std::size_t, std::size_t>>;
Result<Overlap> overlapping(std::span<const Box> boxes);

// How many elements of the shape come before those of the box, if the elements of the box follow
// one another in it; std::nullopt: they do not.
std::optional<std::uint64_t> start_of_run(const Box& box, std::span<const std::int64_t> shape);

// Bytes that lie together in the piece and in the output.
struct Run {
  std::uint64_t from_bytes = 0;  // in the piece
  std::uint64_t to_bytes = 0;    // in the output
  std::uint64_t size_bytes = 0;
};

// Calls `visit` for each run of the elements of `shared`, which lies in both boxes, in the order of
// the piece.
Result<void> for_each_run(const Box& piece, const Box& output, const Box& shared,
                          std::uint64_t element_bytes,
                          const std::function<Result<void>(const Run&)>& visit);

// Which blocks of `block_bytes` of the piece hold elements of `shared`: a flag for each of them.
std::vector<bool> touched_blocks(const Box& piece, const Box& shared, std::uint64_t element_bytes,
                                 std::uint64_t block_bytes);

// Reverses each `width` bytes.
void swap_in_place(std::span<std::byte> bytes, std::uint32_t width);

}  // namespace cairn::internal
