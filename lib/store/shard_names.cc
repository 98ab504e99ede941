#include "lib/store/shard_names.h"

#include <set>
#include <string>

#include "lib/store/names.h"
#include "lib/try.h"

namespace cairn::store {

Result<std::uint32_t> free_shard_count(const os::Directory& directory, std::string_view base,
                                       std::uint32_t needed) {
  CAIRN_TRY(names, directory.names());
  std::set<std::uint32_t> taken;
  for (const std::string& name : names) {
    if (const auto number = shard_number(name, base)) taken.insert(number->count);
  }
  while (taken.contains(needed)) ++needed;
  return needed;
}

void remove_other_shards(const os::Directory& directory, std::string_view base,
                         std::uint32_t count) {
  const auto names = directory.names();
  for (std::size_t i = 0; names && i < names->size(); ++i) {
    const auto number = shard_number((*names)[i], base);
    if (number && number->count != count) (void)directory.remove((*names)[i]);
  }
}

}  // namespace cairn::store
