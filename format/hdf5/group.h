#pragma once

// The links of a group, however they are stored.

#include <string>
#include <vector>

#include "format/hdf5/object.h"

namespace cairn::format::hdf5 {

struct Link {
  enum class Kind : std::uint8_t { Hard, Soft, External, Unknown };
  std::string name;
  Kind kind = Kind::Hard;
  std::uint64_t address = 0;  // of a hard one
};

// Whether the object is a group at all.
bool is_group(const Object& object) noexcept;

// Sorted by name. Errors: Corrupt (two of one name, or a name that no path can have); Unsupported.
Decoded<std::vector<Link>> read_links(File& file, const Object& group);

}  // namespace cairn::format::hdf5
