// When is a save that died finished, and when is it undone? Its checkpoint decides: if an index of
// the prefix is not the file that it was, and the checkpoint opens, then it was committed, and what
// comes after the commit is done now: the catalog, unless somebody has written it since, and the
// removals. Otherwise nothing has happened. Its temporary files go either way, and with them the
// shards that it named (lib/store/publisher.cc).
//
// Files are removed only if they are those that the journal means, by size, time and inode: whoever
// has saved under the same name since loses nothing.

#include "lib/saver/journal.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "format/le.h"
#include "format/limits.h"
#include "lib/compat/load.h"
#include "lib/saver/leftovers.h"
#include "lib/saver/members.h"
#include "lib/saver/siblings.h"
#include "lib/store/draft.h"
#include "lib/store/identity.h"
#include "lib/store/names.h"
#include "lib/store/publisher.h"
#include "lib/try.h"

namespace cairn::saver {
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

Result<bool> committed(const Place& place, const format::JournalCheckpoint& adding) {
  for (const std::string_view suffix : {store::kTensorFlowSuffix, store::kCairnSuffix}) {
    CAIRN_TRY(same, unchanged(place, adding, adding.base + std::string(suffix)));
    if (same) continue;
    auto openable =
        compat::check_openable_in(place.directory, adding.base, place.dir / adding.base);
    if (!openable && may_pass(openable.error())) return std::move(openable).error();
    return openable.has_value();
  }
  return false;
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

Result<void> remove_unlisted(const Place& place, const format::JournalFacts& facts) {
  if (facts.removing.empty()) return {};
  CAIRN_TRY(history, read_history(place));
  CAIRN_TRY(names, place.directory.names());
  const auto elsewhere = listed_elsewhere(place, names);
  for (const format::JournalCheckpoint& what : facts.removing) {
    if (std::ranges::find(history.listed, what.base, &Listed::base) != history.listed.end() ||
        elsewhere.may_list(what.base))
      continue;
    CAIRN_CHECK(remove_members(place.directory, what));
  }
  return {};
}

Result<void> settle(const Place& place, const format::JournalFacts& facts) {
  const Place here{place.dir, place.directory, facts.catalog, place.follow_links};
  const bool saving = !facts.adding.base.empty();
  if (saving) {
    CAIRN_TRY(done, committed(here, facts.adding));
    CAIRN_CHECK(place.directory.sync());  // its writer may have died before it could
    if (!done) return {};
    CAIRN_CHECK(list_added(here, facts));
  }
  return remove_unlisted(here, facts);
}

}  // namespace

Result<void> write_journal(const os::Directory& directory, const format::JournalFacts& facts) {
  // Or the checkpoint would be written and never listed, and a journal be there that only this user
  // can take away.
  if (!directory.may_replace(facts.catalog)) {
    return Error{Code::Io, EPERM,
                 (std::filesystem::path(directory.path()) / facts.catalog).string() +
                     ": is another user's, and nobody else may replace it, for the directory has "
                     "the sticky bit; take that away (chmod -t), or save to another directory"};
  }
  const std::string text = format::encode_journal(facts);
  CAIRN_TRY(draft, store::draft_with(directory, std::string(kJournalName), format::as_bytes(text)));
  return draft.publish(store::Draft::Taken::Replace);
}

Result<format::JournalCheckpoint> before_adding(const Place& place, const std::string& base) {
  format::JournalCheckpoint before{base, {}};
  for (const std::string& name :
       {base + std::string(store::kTensorFlowSuffix), base + std::string(store::kCairnSuffix),
        std::string(place.latest_filename)}) {
    CAIRN_TRY(info, place.directory.look(name));
    if (info) before.files.push_back({name, store::identity_of(*info)});
  }
  return before;
}

Result<bool> unchanged(const Place& place, const format::JournalCheckpoint& before,
                       const std::string& name) {
  const auto was = std::ranges::find(before.files, name, &format::JournalFile::name);
  CAIRN_TRY(info, place.directory.look(name));
  if (!info) return was == before.files.end();
  return was != before.files.end() && was->identity == store::identity_of(*info);
}

Result<std::vector<std::string>> settle(const Place& place) {
  CAIRN_TRY(facts, read_journal(place.directory));
  if (facts) CAIRN_CHECK(settle(place, *facts));
  drop_journal(place.directory);
  CAIRN_TRY(names, place.directory.names());
  store::sweep_all(place.directory, names);
  remove_orphan_indexes(place.directory, names);
  return names;
}

void undo(const Place& place, const format::JournalFacts& facts) {
  const auto done = committed(place, facts.adding);
  if (done && !*done) drop_journal(place.directory);
}

void drop_journal(const os::Directory& directory) { (void)directory.remove(kJournalName); }

}  // namespace cairn::saver
