#include "lib/edit/publish_linked.h"

#include <utility>

#include "lib/edit/publish.h"
#include "lib/edit/sums.h"
#include "lib/edit/transfer.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {

Result<Transfer> publish_linked(Composed composed, const TransferOptions& options) {
  if (options.output.empty()) return Error{Code::Invalid, 0, "an output prefix is needed"};
  const auto parts = Prefix::of(options.output);
  CAIRN_TRY(directory, os::Directory::open_or_create(parts.directory));
  const Destination to{std::move(directory), parts.base, options.output};
  CAIRN_TRY(summed, add_sums(composed.facts, composed.files, options.exec));
  Transfer transfer;
  transfer.prefix = to.prefix;
  transfer.warnings = std::move(composed.warnings);
  if (!summed.empty()) transfer.warnings.push_back(std::move(summed));
  LinkedCheckpoint linked;
  linked.facts = std::move(composed.facts);
  linked.files = composed.files;
  linked.doubtful = std::move(composed.doubtful);
  linked.no_hard_links = composed.no_hard_links;
  linked.unchanged = [&]() -> Result<void> {
    for (const SeenSource& source : composed.seen) {
      CAIRN_TRY(same, same_place({source.location.directory, source.location.base},
                                 {to.directory, to.base}));
      if (same) CAIRN_CHECK(check_unchanged(source.location, source.indexes));
    }
    return {};
  };
  CAIRN_CHECK(publish_elsewhere(to, std::move(linked), options, transfer));
  return transfer;
}

}  // namespace cairn::internal
