#pragma once

// What else there is in a directory of checkpoints: other catalogs, and copies.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "lib/saver/history.h"

namespace cairn::saver {

// The other catalogs of the directory, by their names. `names`: what is in it.
struct OtherCatalogs {
  std::vector<std::string> names;
  std::optional<Error> unread;  // a file of which nobody can say whether it is one
};
OtherCatalogs other_catalogs(const Place& place, std::span<const std::string> names);

// Which other catalog of the directory lists a checkpoint, by its base. `names`: what is in it.
std::map<std::string, std::string> listed_elsewhere(const Place& place,
                                                    std::span<const std::string> names);

// The checkpoint here of which `base` is a copy, as file managers and people make them: "m-2 -
// Copy", "m-2.bak", "Copy of m-2". Its index has the same bytes, and its name holds the other's.
// Not m-20 beside m-2, which may hold the same values. Nothing: none.
std::optional<std::string> original_of(const Place& place, const std::string& base,
                                       std::span<const std::string> bases);

}  // namespace cairn::saver
