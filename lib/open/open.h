#pragma once

// Opening by whatever path the user has, again where writers come between.

#include "lib/open/catalog.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/try.h"

namespace cairn::internal {

// What `make` makes of the parts that lie at the path. Of the options, what finds them is heeded.
// Errors: those of Checkpoint::open and of `make`.
template <class Opened, class Make>
Result<Opened> open_by(const std::filesystem::path& path, const OpenOptions& options, Make make) {
  OpenAttempt attempt;
  bool whole = false;
  auto opened = retry_until_stable(attempt, [&]() -> Result<Opened> {
    whole = false;
    CAIRN_TRY(location, locate(path, options.follow_links, attempt));
    location.formats = options.formats;
    CAIRN_TRY(parts, load(location, options.follow_links, attempt, options.exec.threads_max));
    whole = true;
    return make(std::move(parts));
  });
  if (opened) return opened;
  Error error = attempt.explain(path, std::move(opened).error());
  return whole ? error : with_newest_whole(std::move(error), attempt, options.follow_links);
}

}  // namespace cairn::internal
