// A move is a copy that shares the files, where they can be linked, then a change of the catalogs,
// then a removal. To rename the files one by one was rejected: between two of them neither name
// opens, and a power cut may keep any of the renames.
//
// Both prefixes' locks are held from the last look at the old one to its removal, so that what
// another publishes under it is either moved or stays. All who hold two take them in one order, so
// none waits for another in a circle.

#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "cairn/copy.h"
#include "format/safetensors/header.h"
#include "lib/edit/relocate.h"
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

using internal::CheckpointSnapshot;
using internal::Destination;
using internal::Location;

// Where the old files could not be removed, or a catalog not told.
Error whole_twice(const Location& from, const Destination& to, Error error) {
  error.what = to.prefix.string() + ": is whole, but " + from.prefix.string() +
               " may still exist: " + error.what +
               "; repair the cause, then remove it with 'cairn rm " + from.prefix.string() + "'";
  return error;
}

Result<void> refuse_links(const os::Directory& directory, const Location& from,
                          std::span<const std::string> names) {
  for (const std::string& name : names) {
    if (!internal::is_checkpoint_file(name, from.base)) continue;
    CAIRN_TRY(info, directory.look(name));
    if (!info || info->kind != os::FileKind::Link) continue;
    return Error{Code::Unsupported, 0,
                 from.prefix.string() + ": " + name +
                     " is a symbolic link; use copy_checkpoint() to make a copy of the files, then "
                     "remove_checkpoint() to remove the links"};
  }
  return {};
}

// What cannot be listed under its new name is found out before it has it.
Result<void> check_successor(const internal::Place& place, const Destination& to,
                             const internal::Listings& listings) {
  for (const std::string& catalog : listings.names(place)) {
    if (to.base != catalog) continue;
    return Error{Code::Invalid, 0,
                 to.prefix.string() + ": a checkpoint cannot have the name of the catalog"};
  }
  if (listings.names(place).empty() || format::safetensors::is_utf8(to.base)) return {};
  return Error{Code::Invalid, 0,
               to.prefix.string() + ": this name is not UTF-8, which a catalog needs"};
}

// A pin that stands where nobody reads on would be lost.
Result<void> check_pin(const internal::Place& place, const CheckpointSnapshot& snapshot) {
  if (snapshot.own_index || snapshot.file) return {};
  CAIRN_TRY(pin, internal::pin_of(place, snapshot.location.base));
  if (!pin.unread.empty()) {
    return Error{Code::Unsupported, 0, snapshot.location.prefix.string() + ": " + pin.unread};
  }
  if (!pin.pinned) return {};
  return Error{Code::Unsupported, 0,
               snapshot.location.prefix.string() +
                   ": is pinned by a P.cairn that is older than P.index; renew it first with "
                   "import_index()"};
}

Result<bool> is_within(const os::Directory& directory, const Destination& to) {
  const std::string nothing;
  return internal::same_place({directory, nothing}, {to.directory, nothing});
}

Result<CheckpointSnapshot> take_held(const Location& named, bool follow_links) {
  internal::OpenAttempt attempt(named.directory);
  auto snapshot = internal::retry_until_stable(attempt, [&]() -> Result<CheckpointSnapshot> {
    CAIRN_TRY(twin, named.directory.duplicate());
    CAIRN_TRY(location, internal::locate_in(std::move(twin), named.base, named.prefix));
    return internal::open_snapshot(std::move(location), follow_links, attempt);
  });
  if (snapshot) return snapshot;
  return attempt.explain(named.prefix, std::move(snapshot).error());
}

// The locks of the old place, until it is left, and of the new one.
class MoveLocks {
 public:
  MoveLocks(const Location& from, internal::LockWait wait) : from_(from), wait_(std::move(wait)) {}

  // That of the target.
  Result<internal::Lock> take_both(const internal::Target& to) {
    CAIRN_TRY(here, from_.directory.info());
    CAIRN_TRY(there, to.directory.info());
    const auto rank = [](const os::FileInfo& directory, const std::string& base) {
      return std::tuple(directory.device, directory.inode, base);
    };
    const auto source = rank(here, internal::lock_base(from_));
    const auto target = rank(there, to.base);
    if (source < target) CAIRN_CHECK(take_source());
    CAIRN_TRY(lock, internal::lock_prefix(to.directory, to.base, wait_));
    if (target < source) CAIRN_CHECK(take_source());
    return std::move(lock);
  }

  // Where both have one lock, the target has let go of it by now.
  Result<void> take_source() {
    if (source_) return {};
    CAIRN_TRY(taken, internal::lock_prefix(from_.directory, internal::lock_base(from_), wait_));
    source_.emplace(std::move(taken));
    return {};
  }

 private:
  const Location& from_;
  internal::LockWait wait_;
  std::optional<internal::Lock> source_;
};

// Publishes it at its new place; the locks that the old one needs are held then.
Result<void> arrive(const CheckpointSnapshot& snapshot, const Destination& to,
                    const TransferOptions& options, MoveLocks& holding, Transfer& transfer) {
  internal::RelocateOptions relocation;
  relocation.how = internal::TransferMode::Move;
  relocation.unchanged = [&] {
    return internal::check_unchanged(snapshot.location, snapshot.seen);
  };
  relocation.hold = [&](const internal::Target& target) { return holding.take_both(target); };
  CAIRN_CHECK(internal::publish_snapshot(snapshot, to, relocation, options, transfer));
  return holding.take_source();
}

std::string stays(const std::string& shown) {
  return shown + ": another process has replaced it in the meantime; the new one stays";
}

// Who gives a checkpoint a name of its own mostly means it to stay.
Result<void> warn_of_age(const internal::Place& place, const Destination& to,
                         std::vector<std::string>& warnings) {
  CAIRN_TRY(pin, internal::pin_of(place, to.base));
  if (pin.pinned) return {};
  warnings.push_back(
      to.prefix.string() + ": keeps its place and age in \"" + std::string(place.latest_filename) +
      "\", so a later save may remove it; to keep it, run 'cairn pin " + to.prefix.string() + "'");
  return {};
}

Result<Moved> move_listed(const Location& named, const TransferOptions& options,
                          std::string_view latest_filename) {
  const auto parent = internal::Prefix::of(named.prefix).directory;
  const std::filesystem::path dir = parent.empty() ? "." : parent;
  const internal::Place place{dir, named.directory, latest_filename};
  CAIRN_CHECK(internal::check_written_name(dir, latest_filename));
  const internal::LockWait wait{options.lock_wait, options.exec.stop};
  const auto lock = internal::Lock::of_directory(named.directory, wait);
  if (!lock) return lock.error();
  CAIRN_TRY(recovery, internal::recover_from_journal(place));
  const std::vector<std::string>& names = recovery.names;
  CAIRN_CHECK(refuse_links(named.directory, named, names));
  CAIRN_TRY(snapshot, take_held(named, options.follow_links));
  CAIRN_CHECK(check_pin(place, snapshot));
  CAIRN_TRY(what, internal::checkpoint_files(named.directory, names, named.base));
  CAIRN_TRY(listings, internal::listings_of(place, names, named.base));
  if (listings.damaged) return *listings.damaged;
  CAIRN_TRY(to, internal::destination_of(snapshot.location, options.output));
  CAIRN_CHECK(internal::check_removable(place, names, what, listings));
  CAIRN_TRY(within, is_within(named.directory, to));
  if (within) CAIRN_CHECK(check_successor(place, to, listings));
  if (auto room = internal::check_space(place, what, listings); !room)
    return internal::with_advice_to_free(std::move(room).error());

  Moved moved;
  moved.transfer.warnings = std::move(recovery.warnings);
  moved.catalogs = listings.names(place);
  MoveLocks holding(named, wait);
  CAIRN_CHECK(arrive(snapshot, to, options, holding, moved.transfer));
  internal::ListedRemoval leaving{std::move(what), std::nullopt};
  if (within) leaving.successor = to.base;
  const auto left = internal::remove_listed(place, leaving, listings);
  if (!left) return whole_twice(snapshot.location, to, internal::with_advice_to_free(left.error()));
  std::vector<std::string>& warnings = moved.transfer.warnings;
  if (!*left) warnings.push_back(stays(named.prefix.string()));
  if (within && listings.own) CAIRN_CHECK(warn_of_age(place, to, warnings));
  if (within || moved.catalogs.empty()) return moved;
  if (listings.latest) warnings.push_back(internal::describe_latest(place));
  warnings.push_back(
      to.prefix.string() +
      ": no catalog lists it there; to list it, use set_latest_checkpoint() (cairn set-latest)");
  return moved;
}

// No catalog can name it.
Result<Moved> move_file(Location named, const TransferOptions& options) {
  internal::OpenAttempt attempt;
  CAIRN_TRY(snapshot, internal::open_snapshot(std::move(named), options.follow_links, attempt));
  const Location& from = snapshot.location;
  CAIRN_CHECK(refuse_links(from.directory, from, std::span(&from.base, 1)));
  CAIRN_TRY(to, internal::destination_of(from, options.output));
  Moved moved;
  MoveLocks holding(from, {options.lock_wait, options.exec.stop});
  CAIRN_CHECK(arrive(snapshot, to, options, holding, moved.transfer));
  const auto left = internal::remove_listed_file(from, *snapshot.file);
  if (!left) return whole_twice(from, to, left.error());
  if (!*left) moved.transfer.warnings.push_back(stays(snapshot.file->path()));
  return moved;
}

}  // namespace

Result<Moved> move_checkpoint(const std::filesystem::path& source, const TransferOptions& options,
                              std::string_view latest_filename) noexcept {
  return at_boundary([&]() -> Result<Moved> {
    if (options.output.empty())
      return Error{Code::Invalid, 0, source.string() + ": a move needs an output"};
    CAIRN_TRY(found, internal::locate_for_removal({source, options.follow_links, latest_filename},
                                                  {options.lock_wait, options.exec.stop}));
    Location& named = found.location;
    CAIRN_CHECK(internal::refuse_saved_model(named));
    auto moved = named.kind == internal::Kind::File ? move_file(std::move(named), options)
                                                    : move_listed(named, options, latest_filename);
    if (moved) std::ranges::move(found.warnings, std::back_inserter(moved->transfer.warnings));
    return moved;
  });
}

}  // namespace cairn
