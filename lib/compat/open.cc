#include "cairn/checkpoint.h"
#include "lib/compat/catalog.h"
#include "lib/compat/load.h"
#include "lib/compat/locate.h"
#include "lib/store/open_checkpoint.h"
#include "lib/try.h"

namespace cairn {

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path,
                                    const OpenOptions& options) noexcept {
  return at_boundary([&]() -> Result<Checkpoint> {
    compat::Trail trail;
    bool whole = false;
    auto opened = compat::until_still(trail, [&]() -> Result<Checkpoint> {
      whole = false;
      CAIRN_TRY(location, compat::locate(path, options.follow_links, trail));
      CAIRN_TRY(parts,
                compat::load(location, options.follow_links, trail, options.work.threads_max));
      whole = true;
      return store::OpenCheckpoint::make(std::move(parts), options);
    });
    if (opened) return opened;
    Error error = trail.explain(path, std::move(opened).error());
    return whole ? error : with_newest_whole(std::move(error), trail, options.follow_links);
  });
}

}  // namespace cairn
