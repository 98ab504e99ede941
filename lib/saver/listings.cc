#include "lib/saver/listings.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "lib/open/catalog.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/journal.h"
#include "lib/saver/links_here.h"
#include "lib/saver/other_catalogs.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// An entry that leads elsewhere, as a symbolic link may, has no base of its own.
bool is_entry_of(const Place& place, const HistoryEntry& listed, const std::string& base) {
  if (!listed.base.empty()) return listed.base == base || without_v1_tail(listed.base) == base;
  return listed.path.lexically_normal() == (place.dir / base).lexically_normal();
}

Result<bool> lists(const Place& place, const std::string& base) {
  CAIRN_TRY(history, read_history(place));
  return std::ranges::any_of(
      history.listed, [&](const HistoryEntry& listed) { return is_entry_of(place, listed, base); });
}

// A catalog that lists nothing any more goes: it cannot be empty.
Result<void> warn(const Place& place, const ListedRemoval& leaving) {
  CAIRN_TRY(history, read_history(place));
  std::vector<HistoryEntry> stay;
  bool changed = false;
  for (HistoryEntry& listed : history.listed) {
    const bool leaves = is_entry_of(place, listed, leaving.what.base);
    // What was there under the new name has been replaced.
    const bool replaced = !leaves && leaving.successor && listed.base == *leaving.successor;
    changed = changed || leaves;
    if (replaced || (leaves && !leaving.successor)) continue;
    if (leaves) {
      listed.base = *leaving.successor;
      listed.path = place.dir / listed.base;
    }
    stay.push_back(std::move(listed));
  }
  if (!changed) return {};
  history.listed = std::move(stay);
  if (!history.listed.empty()) return write_history(place, history);
  CAIRN_CHECK(place.directory.remove(place.latest_filename));
  return place.directory.sync();
}

}  // namespace

std::vector<std::string> Listings::names(const Place& place) const {
  std::vector<std::string> names = others;
  if (own) names.insert(names.begin(), std::string(place.latest_filename));
  return names;
}

Result<Listings> listings_of(const Place& place, std::span<const std::string> names,
                             const std::string& base) {
  Listings listings;
  CAIRN_TRY(history, read_history(place));
  for (const HistoryEntry& listed : history.listed) {
    listings.latest = is_entry_of(place, listed, base);
    listings.own = listings.own || listings.latest;
  }
  OtherCatalogs others = other_catalogs(place, names);
  if (others.unread) return *std::move(others.unread);
  listings.damaged = std::move(others.damaged);
  for (const auto& [name, state] : others.states) {
    const auto there = lists({place.dir, place.directory, name}, base);
    if (!there && may_pass(there.error())) return there.error();
    if (there && *there) listings.others.push_back(name);
  }
  return listings;
}

namespace {

Result<void> refuse_linked(const Place& place, std::span<const std::string> names,
                           const format::JournalCheckpoint& what) {
  CAIRN_TRY(history, read_history(place));
  const auto elsewhere = other_listings(place, names);
  CAIRN_TRY(links, LinksHere::read(place, names, outside_of(history, elsewhere)));
  CAIRN_TRY(link, links.to(what, {what.base}));
  if (!link) return {};
  return Error{Code::Unsupported, 0,
               (place.dir / what.base).string() + ": stays, because " + *link +
                   "; remove that link first; if the checkpoint consists of links, "
                   "remove_checkpoint() removes the links only"};
}

}  // namespace

Result<void> check_removable(const Place& place, std::span<const std::string> names,
                             const format::JournalCheckpoint& what, const Listings& listings) {
  CAIRN_CHECK(refuse_linked(place, names, what));
  if (auto refused = refusal_of_journal(place.directory)) return *std::move(refused);
  if (auto refused = refusal_of(place.directory, what)) return *std::move(refused);
  for (const std::string& catalog : listings.names(place)) {
    if (place.directory.may_replace(catalog)) continue;
    return Error{Code::Io, EPERM,
                 (place.dir / catalog).string() +
                     ": lists it and belongs to another user; only that user can replace it, "
                     "because the directory has the sticky bit"};
  }
  return {};
}

namespace {

// A catalog, and what it listed before it was told.
struct UpdatedCatalog {
  std::string name;
  History before;
};

// The steps of a departure. Of those that are taken `told` says what takes them back.
Result<bool> leave(const Place& place, const ListedRemoval& leaving, const Listings& listings,
                   std::vector<UpdatedCatalog>& updated) {
  const auto tell_one = [&](const std::string& name) -> Result<void> {
    const Place one{place.dir, place.directory, name};
    CAIRN_TRY(before, read_history(one));
    updated.push_back({name, std::move(before)});
    return warn(one, leaving);
  };
  for (const std::string& other : listings.others) CAIRN_CHECK(tell_one(other));
  // Who finishes by the journal asks the one catalog that it names; so that one is told last.
  const std::string own(place.latest_filename);
  CAIRN_CHECK(write_journal(place.directory, {own, {}, {}, {leaving.what}}));
  CAIRN_CHECK(tell_one(own));
  CAIRN_TRY(aside, set_index_aside(place.directory, leaving.what));
  CAIRN_TRY(removal,
            remove_checkpoint_files_held(place.directory, leaving.what, IdentityCheck::ByFile));
  if (removal.refused) return *std::move(removal.refused);
  if (!aside.empty()) CAIRN_CHECK(place.directory.remove(aside));
  CAIRN_CHECK(place.directory.sync());
  remove_journal(place.directory);
  return removal.gone();
}

// Whether every index that it had is there.
bool is_untouched(const os::Directory& directory, const format::JournalCheckpoint& what) {
  return std::ranges::all_of(what.files, [&](const format::JournalFile& file) {
    const auto there = directory.look(file.name);
    return there && *there && identity_of(**there) == file.identity;
  });
}

// After a departure that failed: the next writer is to leave alone what stays. What became of it,
// for the sentence.
std::string take_back(const Place& place, const format::JournalCheckpoint& what,
                      std::span<const UpdatedCatalog> updated) {
  const std::string shown = (place.dir / what.base).string();
  (void)restore_index(place.directory, what);
  const auto stands = still_stands(place.directory, what);
  if (stands && !*stands) return "; the next change of the directory removes the rest of " + shown;
  remove_journal(place.directory);
  if (!is_untouched(place.directory, what))
    return "; some files of " + shown + " are gone, the others stay; remove them with 'cairn rm'";
  bool listed = true;
  for (const UpdatedCatalog& catalog : updated) {
    const Place one{place.dir, place.directory, catalog.name};
    listed = static_cast<bool>(write_history(one, catalog.before)) && listed;
  }
  return "; " + shown + " stays whole" +
         (listed ? "" : ", but the catalog does not list it (cairn state --repair)") +
         "; repair the cause, then remove it with 'cairn rm'";
}

}  // namespace

Result<bool> remove_listed(const Place& place, const ListedRemoval& leaving,
                           const Listings& listings) {
  // As the files are now: to link them has changed what is known of their names.
  ListedRemoval now = leaving;
  for (format::JournalFile& file : now.what.files) {
    CAIRN_TRY(info, place.directory.look(file.name));
    if (info) file.ctime_ns = info->ctime_ns;
  }
  std::vector<UpdatedCatalog> updated;
  auto left = leave(place, now, listings, updated);
  if (left) return left;
  Error error = std::move(left).error();
  error.what += take_back(place, now.what, updated);
  return error;
}

namespace {

// Whether FILE.cairn is what an import has recorded of the file, and not a checkpoint's index.
bool is_record(const Location& location) {
  const auto own = load_own_index(location);
  const auto source = own ? own->index.source_index() : std::nullopt;
  return source && source->name == location.base;
}

}  // namespace

Result<bool> remove_listed_file(const Location& location, const os::File& file) {
  CAIRN_TRY(meant, file.info());
  CAIRN_TRY(now, location.directory.look_from(location.base, os::Links::Follow));
  if (now && !same_file(*now, meant)) return false;
  CAIRN_CHECK(location.directory.remove(location.base));
  if (is_record(location)) CAIRN_CHECK(location.directory.remove(location.file(kCairnSuffix)));
  CAIRN_CHECK(location.directory.sync());
  return true;
}

Result<RemovalTarget> locate_for_removal(const RemovalQuery& asked, const LockWait& wait) {
  auto location = locate_named(asked.path, asked.follow_links);
  if (location) return RemovalTarget{*std::move(location), {}};
  if (location.error().code != Code::NotFound) return location.error();
  const auto parent = Prefix::of(asked.path).directory;
  const auto directory = os::Directory::open(parent);
  if (!directory || !directory->exists(kJournalName)) return location.error();
  const auto lock = Lock::of_directory(*directory, wait);
  if (!lock) return lock.error();
  CAIRN_TRY(recovery, recover_from_journal({parent, *directory, asked.latest_filename}));
  auto anew = locate_named(asked.path, asked.follow_links);
  if (anew) return RemovalTarget{*std::move(anew), std::move(recovery.warnings)};
  Error error = std::move(anew).error();
  for (const std::string& warning : recovery.warnings) error.what += "; " + warning;
  return error;
}

Result<void> refuse_saved_model(const Location& location) {
  const std::filesystem::path model =
      Prefix::of(location.prefix).directory / std::filesystem::path("..");
  if (location.base != "variables" || !is_saved_model(model)) return {};
  return Error{Code::Unsupported, 0,
               location.prefix.string() +
                   ": is the variables of a SavedModel, which does not work without them; move or "
                   "remove the directory of the SavedModel"};
}

std::string describe_latest(const Place& place) {
  const std::string catalog = (place.dir / place.latest_filename).string();
  const auto history = read_history(place);
  if (!history || history->listed.empty())
    return catalog + ": listed no other checkpoint, and is removed";
  return catalog + ": its latest checkpoint is now " + history->listed.back().path.string();
}

}  // namespace cairn::internal
