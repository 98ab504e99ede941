#include "cairn/copy.h"

#include "lib/edit/relocate.h"
#include "lib/open/catalog.h"
#include "lib/try.h"

namespace cairn {
namespace {

// Its variables are a checkpoint; all of it is more than one.
Result<void> refuse_saved_model(const std::filesystem::path& source,
                                const internal::Location& location) {
  if (location.prefix == source || !internal::is_saved_model(source)) return {};
  return Error{Code::Unsupported, 0,
               source.string() +
                   ": is a SavedModel, a directory with more than a checkpoint; copy it with 'cp "
                   "-r', or give the checkpoint of its variables, " +
                   location.prefix.string()};
}

Result<internal::CheckpointSnapshot> open_snapshot(const std::filesystem::path& source,
                                                   bool follow_links) {
  internal::OpenAttempt attempt;
  auto snapshot =
      internal::retry_until_stable(attempt, [&]() -> Result<internal::CheckpointSnapshot> {
        CAIRN_TRY(location, internal::locate(source, follow_links, attempt));
        CAIRN_CHECK(refuse_saved_model(source, location));
        return internal::open_snapshot(std::move(location), follow_links, attempt);
      });
  if (snapshot) return snapshot;
  return internal::with_newest_whole(attempt.explain(source, std::move(snapshot).error()), attempt,
                                     follow_links);
}

}  // namespace

Result<Transfer> copy_checkpoint(const std::filesystem::path& source,
                                 const TransferOptions& options) noexcept {
  return at_boundary([&]() -> Result<Transfer> {
    if (options.output.empty())
      return Error{Code::Invalid, 0, source.string() + ": a copy needs an output"};
    if (options.link == Link::Hard) {
      return Error{Code::Invalid, 0,
                   source.string() +
                       ": a copy shares no file with its source; import_index() and merge() can "
                       "make hard links to the shards"};
    }
    CAIRN_TRY(snapshot, open_snapshot(source, options.follow_links));
    internal::NewDirectories made(options.output);
    CAIRN_TRY(to, internal::destination_of(snapshot.location, options.output));
    Transfer transfer;
    CAIRN_CHECK(internal::publish_snapshot(snapshot, to, {.how = internal::TransferMode::Copy},
                                           options, transfer));
    made.keep();
    return transfer;
  });
}

}  // namespace cairn
