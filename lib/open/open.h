#pragma once

// Opening by a path of any kind. If a writer replaces files meanwhile, the attempt is repeated.
// Steps: locate() finds what the path leads to, load() finds the valid index and opens the shards,
// `make` builds the result from these parts.

#include "lib/open/catalog.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/try.h"

namespace cairn::internal {

// Returns what `make` makes of the parts that are found at the path. Uses only the options that
// finding needs: follow_links, formats and exec.threads_max. Errors: those of Checkpoint::open and
// of `make`.
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
