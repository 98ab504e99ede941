#include "cairn/checkpoint.h"
#include "lib/compat/catalog.h"
#include "lib/compat/load.h"
#include "lib/compat/locate.h"
#include "lib/store/open_checkpoint.h"
#include "lib/try.h"

namespace cairn {
namespace {

// Never silently older weights: the newest whole checkpoint is named, not opened.
Error with_newest_whole(Error error, const std::filesystem::path& dir, bool follow_links) {
  const auto state = compat::read_catalog(dir, compat::kCatalogName);
  if (!state || !*state) return error;
  const LatestWhole whole = compat::find_latest_whole(dir, **state, follow_links);
  error.what += whole.prefix ? "; the newest whole checkpoint is " + whole.prefix->string()
                             : "; no other that the catalog names is whole";
  return error;
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path,
                                    const OpenOptions& options) noexcept {
  return at_boundary([&]() -> Result<Checkpoint> {
    CAIRN_TRY(location, compat::locate(path, options.follow_links));
    auto parts = compat::load(location, options.follow_links);
    if (!parts && location.catalog_dir) {
      return with_newest_whole(std::move(parts).error(), *location.catalog_dir,
                               options.follow_links);
    }
    if (!parts) return std::move(parts).error();
    return store::OpenCheckpoint::make(*std::move(parts), options);
  });
}

}  // namespace cairn
