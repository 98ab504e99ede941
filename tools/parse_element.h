#pragma once

#include <string>
#include <string_view>

#include "cairn/dtype.h"
#include "cairn/error.h"

namespace cairn::tools {

// The stored bytes of the element of `dtype` that `text` says, in the form in which `cairn cat`
// prints it: decimal, True and False, inf and nan, 1.0+2.0j. A float becomes the nearest value of
// its type, of two the even one. Errors: Invalid (no such value; one that does not fit the type; a
// dtype whose elements differ in size).
Result<std::string> parse_element(DType dtype, std::string_view text);

}  // namespace cairn::tools
