#pragma once

// Opening by whatever path the user has, again where writers come between.

#include "lib/compat/catalog.h"
#include "lib/compat/load.h"
#include "lib/compat/locate.h"
#include "lib/try.h"

namespace cairn::compat {

// What `make` makes of the parts that lie at the path. Errors: those of Checkpoint::open and of
// `make`.
template <class Opened, class Make>
Result<Opened> open_by(const std::filesystem::path& path, bool follow_links, Make make) {
  Trail trail;
  bool whole = false;
  auto opened = until_still(trail, [&]() -> Result<Opened> {
    whole = false;
    CAIRN_TRY(location, locate(path, follow_links, trail));
    CAIRN_TRY(parts, load(location, follow_links, trail));
    whole = true;
    return make(std::move(parts));
  });
  if (opened) return opened;
  Error error = trail.explain(path, std::move(opened).error());
  return whole ? error : with_newest_whole(std::move(error), trail, follow_links);
}

}  // namespace cairn::compat
