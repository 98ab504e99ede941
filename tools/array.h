#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace cairn::tools {

// Appends the text of the element at `position`, counted row-major.
using AppendElement = std::function<void(std::string& out, std::size_t position)>;

enum class Columns : std::uint8_t {
  Aligned,  // numbers: right-aligned to the widest
  Ragged,   // strings: one space between them
};

enum class Shown : std::uint8_t {
  All,
  Edges,  // of a dimension of more than six the first and last three, and "..." between them
};

struct ArrayStyle {
  Columns columns{};
  Shown shown{};
};

// Prints an array to stdout as numpy does, a row of the innermost dimension on one line, in
// columns; without wrapping, so that a line is a row for other programs too. A scalar (no
// dimension) prints without brackets.
void print_array(std::span<const std::int64_t> shape, const ArrayStyle& style,
                 const AppendElement& append);

}  // namespace cairn::tools
