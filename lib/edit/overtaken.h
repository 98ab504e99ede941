#pragma once

// A P.cairn that does not speak for its checkpoint, and is to be replaced by one that does.

#include <string>
#include <vector>

#include "format/facts.h"
#include "lib/open/locate.h"

namespace cairn::internal {

// What the P.cairn that is there alone knew, and a new one with these facts does not: a warning
// names it, or says that nobody can tell. Nothing to say where none is there.
void warn_of_overtaken(const Location& location, const format::IndexFacts& facts,
                       std::vector<std::string>& warnings);

// The same where the new one takes its place: a pin, which belongs to the name, stays. Errors: Io;
// nobody knows today what would be lost.
Result<void> replace_overtaken(const Location& location, format::IndexFacts& facts,
                               std::vector<std::string>& warnings);

}  // namespace cairn::internal
