#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "cairn/dtype.h"

namespace cairn::tools {

// Appends the element of `dtype` stored at `bytes`, as Python prints it: integers in decimal,
// True and False, floats in the shortest decimal form that reads back to the same value of that
// type, complex numbers as 1.0+2.0j. `dtype` has elements of a fixed size.
void append_element(std::string& out, DType dtype, const std::byte* bytes);

// Appends a string as Python prints bytes: b'abc\xff'. Nothing in it can reach a terminal raw.
void append_bytes_literal(std::string& out, std::string_view value);

}  // namespace cairn::tools
