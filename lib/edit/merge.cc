#include <utility>

#include "cairn/edit.h"
#include "lib/edit/compose.h"
#include "lib/edit/fit.h"
#include "lib/edit/publish_linked.h"
#include "lib/open/load.h"
#include "lib/try.h"

namespace cairn {

Result<Transfer> merge(std::span<const std::filesystem::path> sources,
                       const TransferOptions& options) noexcept {
  return at_boundary([&]() -> Result<Transfer> {
    if (sources.empty())
      return Error{Code::Invalid, 0, options.output.string() + ": no checkpoint to merge is given"};
    std::vector<internal::MergeInput> found;
    found.reserve(sources.size());
    for (const std::filesystem::path& path : sources) {
      CAIRN_TRY(each, internal::find(path, options.follow_links));
      if (!options.allow_lossy) CAIRN_CHECK(internal::check_nothing_left_out(each.parts));
      found.push_back({path, std::move(each)});
    }
    CAIRN_TRY(composed, internal::compose(std::move(found)));
    return internal::publish_linked(std::move(composed), options);
  });
}

}  // namespace cairn
