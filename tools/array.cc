#include "array.h"

#include <algorithm>
#include <vector>

#include "output.h"

namespace cairn::tools {
namespace {

constexpr std::size_t kFlushBytes = 1 << 16;
constexpr std::int64_t kEdge = 3;  // elements at either end of a dimension that is cut

// What is printed of an array, one after another: elements, and gaps in the place of what is left
// out. There is at least one.
class Leaves {
 public:
  Leaves(std::span<const std::int64_t> shape, Shown shown)
      : shape_(shape), edges_(shown == Shown::Edges), at_(shape.size(), 0) {
    find_depth();
  }

  // How many dimensions the leaf lies in; a gap in an outer dimension lies in fewer.
  std::size_t depth() const { return depth_; }
  bool is_gap() const { return depth_ != 0 && is_gap(depth_ - 1); }

  // Of an element, counted row-major.
  std::size_t position() const {
    std::size_t position = 0;
    for (std::size_t i = 0; i < shape_.size(); ++i) {
      const std::int64_t index =
          is_cut(i) && at_[i] > kEdge ? shape_[i] - (2 * kEdge + 1) + at_[i] : at_[i];
      position = position * static_cast<std::size_t>(shape_[i]) + static_cast<std::size_t>(index);
    }
    return position;
  }

  // Goes on. In which dimension; that of no array: there is no more.
  std::size_t next() {
    for (std::size_t i = depth_; i-- > 0;) {
      if (++at_[i] < (is_cut(i) ? 2 * kEdge + 1 : shape_[i])) {
        find_depth();
        return i;
      }
      at_[i] = 0;
    }
    return shape_.size();
  }

 private:
  bool is_cut(std::size_t dimension) const { return edges_ && shape_[dimension] > 2 * kEdge; }
  bool is_gap(std::size_t dimension) const { return is_cut(dimension) && at_[dimension] == kEdge; }

  void find_depth() {
    depth_ = 0;
    while (depth_ < shape_.size() && !is_gap(depth_)) ++depth_;
    if (depth_ < shape_.size()) ++depth_;
  }

  std::span<const std::int64_t> shape_;
  bool edges_;
  std::vector<std::int64_t> at_;
  std::size_t depth_ = 0;
};

// The most characters that an element takes: a first pass, so that no text needs to be kept.
std::size_t column_width(Leaves leaves, const AppendElement& append, std::size_t rank) {
  std::size_t width = 0;
  std::string text;
  do {
    text.clear();
    if (!leaves.is_gap()) append(text, leaves.position());
    width = std::max(width, text.size());
  } while (leaves.next() != rank);
  return width;
}

}  // namespace

void print_array(std::span<const std::int64_t> shape, const ArrayStyle& style,
                 const AppendElement& append) {
  const std::size_t rank = shape.size();
  if (std::ranges::find(shape, 0) != shape.end()) return print("[]\n");
  Leaves leaves(shape, style.shown);
  const bool aligned = style.columns == Columns::Aligned && rank != 0;
  const std::size_t width = aligned ? column_width(leaves, append, rank) : 0;
  std::string out(rank, '[');
  std::string text;
  while (true) {
    text.clear();
    const std::size_t depth = leaves.depth();
    if (leaves.is_gap()) {
      text = "...";
    } else {
      append(text, leaves.position());
      out.append(width - std::min(width, text.size()), ' ');
    }
    out += text;
    const std::size_t dimension = leaves.next();
    if (dimension == rank) break;
    const std::size_t lines = rank - 1 - dimension;
    out.append(depth - 1 - dimension, ']').append(lines, '\n');
    out.append(lines == 0 ? 1 : dimension + 1, ' ');
    out.append(leaves.depth() - 1 - dimension, '[');
    if (out.size() < kFlushBytes) continue;
    print(out);
    out.clear();
  }
  out.append(rank, ']') += '\n';
  print(out);
}

}  // namespace cairn::tools
