#include "array.h"

#include <algorithm>

#include "output.h"

namespace cairn::tools {
namespace {

constexpr std::size_t kFlushBytes = 1 << 16;

// The most characters that an element takes: a first pass, so that no text needs to be kept.
std::size_t column_width(std::size_t count, const AppendElement& append) {
  std::size_t width = 0;
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text.clear();
    append(text, i);
    width = std::max(width, text.size());
  }
  return width;
}

// How many dimensions, counted from the innermost, begin with the element at `position`.
std::size_t dimensions_begun(std::span<const std::int64_t> shape, std::size_t position) {
  std::size_t begun = 0;
  while (begun < shape.size()) {
    const auto dimension = static_cast<std::size_t>(shape[shape.size() - 1 - begun]);
    if (position % dimension != 0) break;
    position /= dimension;
    ++begun;
  }
  return begun;
}

}  // namespace

void print_array(std::span<const std::int64_t> shape, Columns columns,
                 const AppendElement& append) {
  std::size_t count = 1;
  for (const std::int64_t dimension : shape) count *= static_cast<std::size_t>(dimension);
  if (count == 0) return print("[]\n");
  const bool aligned = columns == Columns::Aligned && !shape.empty();
  const std::size_t width = aligned ? column_width(count, append) : 0;
  std::string out;
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t begun = dimensions_begun(shape, i);
    if (i > 0 && begun > 0) {
      out.append(begun, ']').append(begun, '\n').append(shape.size() - begun, ' ');
    }
    if (i > 0 && begun == 0) out += ' ';
    out.append(begun, '[');
    text.clear();
    append(text, i);
    out.append(width - std::min(width, text.size()), ' ') += text;
    if (out.size() < kFlushBytes) continue;
    print(out);
    out.clear();
  }
  out.append(shape.size(), ']') += '\n';
  print(out);
}

}  // namespace cairn::tools
