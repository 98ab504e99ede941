#include "lib/write/shard_names.h"

#include <set>

#include "format/tensorflow/bundle.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::uint32_t kLookedUpMax = 16;  // for more names than that the directory is listed

}  // namespace

Result<std::uint32_t> free_shard_count(const os::Directory& directory, const std::string& base,
                                       std::uint32_t needed) {
  const auto is_taken = [&](std::uint32_t count) -> Result<bool> {
    for (std::uint32_t i = 0; i < count; ++i) {
      CAIRN_TRY(there, directory.look(base + format::tensorflow::shard_suffix(i, count)));
      if (there) return true;
    }
    return false;
  };
  for (; needed <= kLookedUpMax; ++needed) {
    CAIRN_TRY(taken, is_taken(needed));
    if (!taken) return needed;
  }
  CAIRN_TRY(names, directory.names());
  std::set<std::uint32_t> taken;
  for (const std::string& name : names) {
    if (const auto number = shard_number(name, base)) taken.insert(number->count);
  }
  while (taken.contains(needed)) ++needed;
  return needed;
}

std::vector<std::string> shard_names(const std::string& base, std::size_t names,
                                     std::uint32_t count) {
  std::vector<std::string> result;
  result.reserve(names);
  for (std::uint32_t i = 0; i < names; ++i)
    result.push_back(base + format::tensorflow::shard_suffix(i, count));
  return result;
}

}  // namespace cairn::internal
