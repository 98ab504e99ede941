#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "cairn/copy.h"
#include "lib/edit/relocate.h"
#include "lib/open/file_formats.h"
#include "lib/read/names.h"
#include "lib/saver/catalog_file.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/journal.h"
#include "lib/saver/listings.h"
#include "lib/saver/without_room.h"
#include "lib/try.h"
#include "lib/write/lock.h"

namespace cairn {
namespace {

using internal::Location;

Error refused(const Location& location, const std::string& why) {
  return {Code::Unsupported, 0, location.prefix.string() + ": " + why};
}

Result<void> check_removable(const internal::Place& place, const Location& location,
                             const internal::Listings& listings, bool force) {
  CAIRN_TRY(pin, internal::pin_of(place, location.base));
  if (pin.pinned)
    return refused(location, "is pinned; to unpin it, use Saver::pin() (cairn pin --remove)");
  if (force) return {};
  if (!pin.unread.empty())
    return refused(location, pin.unread + "; to remove it anyway, use force (--force)");
  if (listings.latest) {
    return refused(
        location,
        "is the latest checkpoint in \"" + std::string(place.latest_filename) +
            "\", from which training would continue; to remove it anyway, use force (--force)");
  }
  if (listings.others.empty() && listings.damaged) {
    Error error = *listings.damaged;
    error.what += "; to remove " + location.prefix.string() + " anyway, use force (--force)";
    return error;
  }
  if (listings.others.empty()) return {};
  return refused(location, "is listed by " + listings.others.front() +
                               ", another catalog of this directory; to remove it from that "
                               "catalog too, use force (--force)");
}

// A dry run finishes nothing.
Result<internal::Recovery> recover(const internal::Place& place, bool dry_run) {
  if (dry_run) {
    return place.directory.names().transform(
        [](auto names) { return internal::Recovery{std::move(names), {}}; });
  }
  auto recovery = internal::recover_from_journal(place);
  if (!recovery) return internal::with_advice_to_free(std::move(recovery).error());
  return recovery;
}

Result<Removed> remove_listed(const Location& location, const RemoveOptions& options) {
  const auto parent = internal::Prefix::of(location.prefix).directory;
  const std::filesystem::path dir = parent.empty() ? "." : parent;
  const os::Directory& directory = location.directory;
  const internal::Place place{dir, directory, options.latest_filename};
  CAIRN_CHECK(internal::check_written_name(dir, options.latest_filename));
  std::optional<internal::Lock> lock;
  if (!options.dry_run) {
    CAIRN_TRY(taken, internal::Lock::of_directory(directory, {options.lock_wait, options.stop}));
    lock.emplace(std::move(taken));
  }
  CAIRN_TRY(before, recover(place, options.dry_run));
  const std::vector<std::string>& names = before.names;
  // What a writer that died was to remove has gone by now.
  CAIRN_TRY(twin, directory.duplicate());
  CAIRN_CHECK(internal::locate_in(std::move(twin), location.base, location.prefix));
  CAIRN_TRY(listings, internal::listings_of(place, names, location.base));
  CAIRN_CHECK(check_removable(place, location, listings, options.force));
  std::optional<internal::Lock> of_prefix;
  if (!options.dry_run) {
    CAIRN_TRY(taken, internal::Lock::of_prefix(directory, location.base,
                                               {options.lock_wait, options.stop}));
    of_prefix.emplace(std::move(taken));
  }
  CAIRN_TRY(what, internal::checkpoint_files(directory, names, location.base,
                                             internal::UnreadableIndex::Take));
  Removed removed{location.prefix, {}, listings.names(place), std::move(before.warnings)};
  CAIRN_CHECK(internal::check_removable(place, names, what, listings));
  for (const format::JournalFile& file : what.files) removed.files.push_back(file.name);
  if (options.dry_run) return removed;
  auto gone = internal::remove_listed(place, {what, {}}, listings);
  if (!gone && internal::is_full(gone.error()))
    gone = internal::remove_before_unlisting(place, what, listings, std::move(gone).error());
  if (!gone) return internal::with_advice_to_free(gone.error());
  if (*gone) return removed;
  return Error{Code::Busy, 0,
               location.prefix.string() +
                   ": another process has replaced it in the meantime; its files stay, and no "
                   "catalog of this directory lists it"};
}

Result<Removed> remove_one_file(const Location& location, const RemoveOptions& options) {
  const std::filesystem::path path = location.prefix.parent_path() / location.base;
  CAIRN_CHECK(internal::check_in_one_file(location));
  CAIRN_TRY(file, location.directory.open_file(location.base, os::Links::Follow));
  if (options.dry_run) return Removed{path, {location.base}, {}, {}};
  const auto lock = internal::Lock::of_prefix(location.directory, internal::lock_base(location),
                                              {options.lock_wait, options.stop});
  if (!lock) return lock.error();
  CAIRN_TRY(gone, internal::remove_listed_file(location, file));
  if (gone) return Removed{path, {location.base}, {}, {}};
  return Error{Code::Busy, 0,
               path.string() + ": another process has replaced it in the meantime; it stays"};
}

}  // namespace

Result<Removed> remove_checkpoint(const std::filesystem::path& prefix,
                                  const RemoveOptions& options) noexcept {
  return at_boundary([&]() -> Result<Removed> {
    CAIRN_TRY(found, internal::locate_for_removal({prefix, true, options.latest_filename},
                                                  {options.lock_wait, options.stop}));
    const Location& location = found.location;
    CAIRN_CHECK(internal::refuse_saved_model(location));
    auto removed = location.kind == internal::Kind::File ? remove_one_file(location, options)
                                                         : remove_listed(location, options);
    if (removed) std::ranges::move(found.warnings, std::back_inserter(removed->warnings));
    return removed;
  });
}

}  // namespace cairn
