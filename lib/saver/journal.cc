// When is a save that died finished, and when is it undone? Its checkpoint decides: if an index of
// the prefix is not the file that it was, the checkpoint opens, and it is the save's own, by the
// time that the journal has set down for it, then it was committed, and what comes after the commit
// is done now: the catalog, unless somebody has written it since, and the removals. Otherwise
// nothing has happened: what somebody else has put under the name is his. Temporary files go either
// way, and with them the shards that they named (lib/write/publisher.cc).
//
// What retention lets go of goes on going: a process that dies at each of its saves must not fill
// the disk. What somebody moves or removes does not: until a writer comes by he may have seen that
// it is whole, and made it the only copy. So it stays as long as an index of it is there.
//
// Files are removed only if they are those that the journal means, by size, time and inode, and
// indexes by the time of their last change too, which a new name for an old file sets: whoever has
// saved, linked or moved back under the same name since loses nothing.

#include "lib/saver/journal.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>

#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "lib/open/load.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/orphan_indexes.h"
#include "lib/saver/other_catalogs.h"
#include "lib/try.h"
#include "lib/write/publisher.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {
namespace {

// Nothing: there is no journal, or none that can be believed.
Result<std::optional<format::JournalFacts>> read_journal(const os::Directory& directory) {
  const auto file = directory.open_file(kJournalName, os::Links::Refuse);
  if (!file && file.error().code == Code::NotFound) return std::optional<format::JournalFacts>();
  if (!file) return file.error();
  CAIRN_TRY(bytes, os::read_whole(*file, format::limits::kCatalogBytesMax));
  auto facts = format::decode_journal(format::as_text(bytes));
  if (!facts) return std::optional<format::JournalFacts>();
  return std::optional(*std::move(facts));
}

// Whether a P.cairn was made by the save, and for the P.index that is there, if one is.
Result<bool> is_of(const Place& place, const std::string& name,
                   const format::JournalCheckpoint& adding,
                   const std::optional<os::Bytes>& beside) {
  const auto file = place.directory.open_file(name, os::Links::Refuse);
  if (!file && may_pass(file.error())) return file.error();
  if (!file) return false;
  CAIRN_TRY(bytes, os::read_whole(*file, format::limits::kIndexBytesMax));
  const auto index = format::IndexView::decode(bytes);
  if (!index || index->created_ns() != adding.created_ns) return false;
  return !beside || (index->tensorflow_index().present &&
                     index->tensorflow_index().digest == format::xxh3_128(*beside));
}

// Beside a P.index that it does not know, a P.cairn does not speak; and one that has no name yet
// still says whose P.index is.
Result<bool> is_own(const Place& place, const format::JournalCheckpoint& adding) {
  const std::string own = adding.base + std::string(kCairnSuffix);
  const auto file =
      place.directory.open_file(adding.base + std::string(kTensorFlowSuffix), os::Links::Refuse);
  if (!file && may_pass(file.error())) return file.error();
  std::optional<os::Bytes> beside;
  if (file) {
    CAIRN_TRY(bytes, os::read_whole(*file, format::limits::kForeignIndexBytesMax));
    beside = std::move(bytes);
  }
  CAIRN_TRY(named, is_of(place, own, adding, beside));
  if (named || !beside) return named;
  CAIRN_TRY(names, place.directory.names());
  for (const std::string& name : names) {
    if (!os::is_temporary_name(name) || os::without_temporary_tail(name) != own) continue;
    CAIRN_TRY(unnamed, is_of(place, name, adding, beside));
    if (unnamed) return true;
  }
  return false;
}

Result<bool> committed(const Place& place, const format::JournalCheckpoint& adding) {
  bool same = true;
  for (const std::string_view suffix : {kTensorFlowSuffix, kCairnSuffix}) {
    CAIRN_TRY(index, unchanged(place, adding, adding.base + std::string(suffix)));
    same = same && index;
  }
  if (same) return false;
  auto openable = check_openable_in(place.directory, adding.base, place.dir / adding.base);
  if (!openable && may_pass(openable.error())) return std::move(openable).error();
  if (!openable) return false;
  return is_own(place, adding);
}

// The catalog as the save would have left it.
Result<void> list_added(const Place& place, const format::JournalFacts& facts) {
  CAIRN_TRY(same, unchanged(place, facts.adding, facts.catalog));
  if (!same) return {};
  CAIRN_TRY(history, read_history(place));
  std::erase_if(history.listed, [&](const Listed& listed) {
    return listed.base == facts.adding.base ||
           std::ranges::find(facts.removing, listed.base, &format::JournalCheckpoint::base) !=
               facts.removing.end();
  });
  CAIRN_TRY(known, known_of(place, facts.adding.base));
  history.listed.push_back(
      {place.dir / facts.adding.base, facts.adding.base, std::move(known), {}});
  return write_history(place, history);
}

// What is to be said of those that could not go.
Result<std::vector<std::string>> remove_unlisted(const Place& place,
                                                 const format::JournalFacts& facts) {
  std::vector<std::string> notices;
  std::vector<const format::JournalCheckpoint*> going;
  for (const format::JournalCheckpoint& what : facts.removing) going.push_back(&what);
  for (const format::JournalCheckpoint& what : facts.leaving) {
    CAIRN_TRY(stands, still_stands(place.directory, what));
    if (!stands) going.push_back(&what);
    if (stands) CAIRN_CHECK(come_back(place.directory, what));
  }
  if (going.empty()) return notices;
  CAIRN_TRY(history, read_history(place));
  CAIRN_TRY(names, place.directory.names());
  const auto elsewhere = listed_elsewhere(place, names);
  for (const format::JournalCheckpoint* what : going) {
    if (std::ranges::find(history.listed, what->base, &Listed::base) != history.listed.end() ||
        elsewhere.may_list(what->base))
      continue;
    CAIRN_TRY(removal, remove_members(place.directory, *what, Recognised::ByFileAndNames));
    if (removal.refused)
      notices.push_back((place.dir / what->base).string() + ": " + why_left(removal));
  }
  return notices;
}

Result<std::vector<std::string>> settle(const Place& place, const format::JournalFacts& facts) {
  const Place here{place.dir, place.directory, facts.catalog, place.follow_links};
  const bool saving = !facts.adding.base.empty();
  if (saving) {
    // Which finishes what it left half-named; who holds the lock has done that.
    (void)hold_prefix(place.directory, facts.adding.base, {std::chrono::milliseconds(0), {}});
    CAIRN_TRY(done, committed(here, facts.adding));
    CAIRN_CHECK(place.directory.sync());  // its writer may have died before it could
    if (!done) return std::vector<std::string>();
    CAIRN_CHECK(list_added(here, facts));
  }
  return remove_unlisted(here, facts);
}

}  // namespace

Error told_what_to_free(Error error) {
  if (error.code == Code::NoSpace) {
    error.what +=
        "; to remove needs a few kB for the journal and the catalog: free them, or remove a "
        "checkpoint by hand, its .index and .cairn before its .data files";
  }
  return error;
}

Result<void> write_journal(const os::Directory& directory, const format::JournalFacts& facts) {
  // Or the checkpoint would be written and never listed, and a journal be there that only this user
  // can take away.
  if (facts.leaving.empty() && !directory.may_replace(facts.catalog)) {
    return Error{Code::Io, EPERM,
                 (std::filesystem::path(directory.path()) / facts.catalog).string() +
                     ": is another user's, and nobody else may replace it, for the directory has "
                     "the sticky bit; take that away (chmod -t), or save to another directory"};
  }
  const std::string text = format::encode_journal(facts);
  CAIRN_TRY(draft, draft_with(directory, std::string(kJournalName), format::as_bytes(text)));
  return draft.publish(Draft::Taken::Replace);
}

Result<format::JournalCheckpoint> before_adding(const Place& place, const std::string& base) {
  format::JournalCheckpoint before{base, {}, os::now_ns()};
  for (const std::string& name :
       {base + std::string(kTensorFlowSuffix), base + std::string(kCairnSuffix),
        std::string(place.latest_filename)}) {
    CAIRN_TRY(info, place.directory.look(name));
    if (info) before.files.push_back({name, identity_of(*info), info->ctime_ns});
  }
  return before;
}

Result<bool> unchanged(const Place& place, const format::JournalCheckpoint& before,
                       const std::string& name) {
  const auto was = std::ranges::find(before.files, name, &format::JournalFile::name);
  CAIRN_TRY(info, place.directory.look(name));
  if (!info) return was == before.files.end();
  return was != before.files.end() && was->identity == identity_of(*info);
}

Result<Settled> settle(const Place& place) {
  Settled settled;
  CAIRN_TRY(facts, read_journal(place.directory));
  if (facts) {
    CAIRN_TRY(notices, settle(place, *facts));
    settled.notices = std::move(notices);
  }
  drop_journal(place.directory);
  CAIRN_TRY(names, place.directory.names());
  sweep_all(place.directory, names);
  remove_orphan_indexes(place.directory, names);
  settled.names = std::move(names);
  return settled;
}

void undo(const Place& place, const format::JournalFacts& facts) {
  const auto done = committed(place, facts.adding);
  if (done && !*done) drop_journal(place.directory);
}

void drop_journal(const os::Directory& directory) { (void)directory.remove(kJournalName); }

}  // namespace cairn::internal
