#pragma once

// New names for tensors: what cairn/edit.h and cairn/convert.h take.

#include <cstdint>
#include <string>
#include <vector>

namespace cairn {

struct NameChange {
  std::string from;
  std::string to;
};

// The new names of tensors. A tensor in `names` gets the name that is given there. From all others
// the prefix is removed, and then the patterns apply to what is left.
struct Renaming {
  std::vector<NameChange> names;
  // Regular expressions in the syntax of RE2 (no look-around, no back-references), applied one
  // after the other. Each match in a name is replaced. In the replacement $1 is the first group, $&
  // the match, $$ a dollar. Names are matched as UTF-8; a name that is not UTF-8 is matched byte by
  // byte.
  std::vector<NameChange> patterns;
  // Removed once from the beginning of each name that begins with it; other names stay.
  std::string strip_prefix;

  bool empty() const noexcept { return names.empty() && patterns.empty() && strip_prefix.empty(); }
};

// Which names of an object-based checkpoint of TensorFlow are meant. A variable is stored under a
// key such as "model/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE".
enum class TensorNames : std::uint8_t {
  Stored,  // the keys
  Path,    // object paths, "model/dense/kernel": the keys of variables without their end
  // The full_name of each variable, "dense/kernel"; of those that have none, or one that others
  // have too, the object path.
  Variable,
};

}  // namespace cairn
