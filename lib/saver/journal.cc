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
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "lib/open/load.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/links_here.h"
#include "lib/saver/other_catalogs.h"
#include "lib/try.h"
#include "lib/write/publisher.h"
#include "lib/write/temp_file.h"

namespace cairn::internal {
namespace {

constexpr std::string_view kFinished = ", and is finished now";
constexpr std::string_view kHowToFinish =
    "finishes what it began with repair_catalog() (cairn state --repair)";

// Nothing: there is no journal, or none that can be believed.
Result<std::optional<format::JournalFacts>> read_journal(const os::Directory& directory) {
  const auto file = directory.open_file(kJournalName, os::Links::Refuse);
  if (!file && file.error().code == Code::NotFound) return std::optional<format::JournalFacts>();
  if (!file) {
    Error error = file.error();
    if (error.os_errno == EACCES) error.what += "; its owner or root " + std::string(kHowToFinish);
    return error;
  }
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

std::string shown(const Place& place, const std::string& base) {
  return (place.dir / base).string();
}

bool removes(const format::JournalFacts& facts, const std::string& base) {
  return std::ranges::find(facts.removing, base, &format::JournalCheckpoint::base) !=
         facts.removing.end();
}

// The catalog as the save would have left it. false: somebody has written it since.
Result<bool> list_added(const Place& place, const format::JournalFacts& facts) {
  CAIRN_TRY(same, unchanged(place, facts.adding, facts.catalog));
  if (!same) return false;
  CAIRN_TRY(history, read_history(place));
  std::erase_if(history.listed, [&](const HistoryEntry& listed) {
    return listed.base == facts.adding.base || removes(facts, listed.base);
  });
  CAIRN_TRY(known, checkpoint_facts(place, facts.adding.base));
  history.listed.push_back(
      {place.dir / facts.adding.base, facts.adding.base, std::move(known), {}});
  CAIRN_CHECK(write_history(place, history));
  return true;
}

// A checkpoint that was to go.
struct PlannedRemoval {
  enum class State : std::uint8_t {
    Goes,
    Listed,   // it stays: a catalog lists it, or a link leads to it
    InDoubt,  // it stays: another catalog may list it
    Whole,    // it stays: its move or removal had not got to a file
  };
  const format::JournalCheckpoint* what;
  State state{};
  std::string why;
};

// Checks what is to go against the catalogs that list it.
void protect(const Place& place, const History& history, const OtherListings& elsewhere,
             PlannedRemoval& planned) {
  const std::string& base = planned.what->base;
  const bool own =
      std::ranges::find(history.listed, base, &HistoryEntry::base) != history.listed.end();
  const std::string quoted = format::quoted(place.latest_filename);
  const std::string doubt = elsewhere.doubt();
  const auto other = elsewhere.listed.find(base);
  if (planned.state == PlannedRemoval::State::Whole) {
    planned.why = quoted + (own ? " lists it"
                                : " does not list it: set_latest_checkpoint() (cairn set-latest) "
                                  "lists it, remove_checkpoint() (cairn rm) removes it");
  } else if (own) {
    planned = {planned.what, PlannedRemoval::State::Listed, quoted + " lists it"};
  } else if (other != elsewhere.listed.end()) {
    planned = {planned.what, PlannedRemoval::State::Listed,
               other->second + ", another catalog of this directory, lists it"};
  } else if (!doubt.empty()) {
    planned = {planned.what, PlannedRemoval::State::InDoubt, doubt};
  }
}

// What is to become of those that were to go, and of which something is there. `unlisted`: the
// catalog does not list those of retention any more, or is about not to.
Result<std::vector<PlannedRemoval>> planned_removals(const Place& place,
                                                     const format::JournalFacts& facts,
                                                     bool unlisted) {
  using State = PlannedRemoval::State;
  std::vector<PlannedRemoval> planned;
  for (const format::JournalCheckpoint& what : facts.removing)
    planned.push_back({&what, State::Goes, {}});
  for (const format::JournalCheckpoint& what : facts.leaving) {
    CAIRN_TRY(stands, still_stands(place.directory, what));
    planned.push_back({&what, stands ? State::Whole : State::Goes, {}});
  }
  if (planned.empty()) return planned;
  auto history = read_history(place);
  if (!history && std::ranges::find(planned, State::Goes, &PlannedRemoval::state) != planned.end())
    return std::move(history).error();
  History listing = history ? *std::move(history) : History();
  const auto leaves = [&](const HistoryEntry& listed) { return removes(facts, listed.base); };
  if (unlisted) std::erase_if(listing.listed, leaves);
  CAIRN_TRY(names, place.directory.names());
  const auto elsewhere = other_listings(place, names);
  for (PlannedRemoval& each : planned) protect(place, listing, elsewhere, each);
  std::set<std::string> going;
  for (const PlannedRemoval& each : planned) {
    if (each.state == State::Goes) going.insert(each.what->base);
  }
  CAIRN_TRY(links, LinksHere::read(place, names, outside_of(listing, elsewhere)));
  for (PlannedRemoval& each : planned) {
    if (each.state != State::Goes) continue;
    CAIRN_TRY(link, links.to(*each.what, going));
    if (link) each = {each.what, State::Listed, *std::move(link)};
  }
  return planned;
}

std::string cut_short(const Place& place, const PlannedRemoval& planned) {
  return shown(place, planned.what->base) + ": its removal was cut short";
}

// How what stays in doubt is removed when that is over; empty: nothing of it is there.
Result<std::string> removal_advice(const Place& place, const format::JournalCheckpoint& what) {
  CAIRN_TRY(stands, still_stands(place.directory, what));
  if (stands) return std::string("; then remove_checkpoint() (cairn rm) removes it");
  CAIRN_TRY(left, what_is_left(place.directory, what, IdentityCheck::ByFileAndNames));
  std::string names;
  for (const std::string& name : left) names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? names : "; then remove what is left of it by hand (rm): " + names;
}

// What became of one, or is to; empty: there is nothing to say.
Result<std::string> describe_outcome(const Place& place, const PlannedRemoval& planned,
                                     std::string_view goes) {
  using State = PlannedRemoval::State;
  switch (planned.state) {
    case State::Goes:
      return cut_short(place, planned) + std::string(goes);
    case State::Listed:
      return cut_short(place, planned) + "; it is kept, because " + planned.why;
    case State::InDoubt: {
      CAIRN_TRY(how, removal_advice(place, *planned.what));
      if (how.empty()) return how;
      return cut_short(place, planned) +
             "; it is kept, because another catalog may list it: " + planned.why + how;
    }
    case State::Whole:
      break;
  }
  return shown(place, planned.what->base) +
         ": its move or removal was cut short before any file was removed; it is kept, and " +
         planned.why;
}

// What it tells of those in doubt holds when temporary files have gone too.
struct Finished {
  std::vector<std::string> warnings;
  std::vector<PlannedRemoval> in_doubt;
};

Result<void> finish(const Place& place, const PlannedRemoval& planned, Finished& finished) {
  const format::JournalCheckpoint& what = *planned.what;
  CAIRN_TRY(left, what_is_left(place.directory, what, IdentityCheck::ByFileAndNames));
  if (planned.state == PlannedRemoval::State::Whole)
    CAIRN_CHECK(restore_index(place.directory, what));
  if (planned.state == PlannedRemoval::State::InDoubt) {
    if (!left.empty()) finished.in_doubt.push_back(planned);
    return {};
  }
  if (planned.state == PlannedRemoval::State::Goes) {
    CAIRN_TRY(removal,
              remove_checkpoint_files(place.directory, what, IdentityCheck::ByFileAndNames));
    if (!removal.gone())
      finished.warnings.push_back(shown(place, what.base) + ": " + describe_remaining(removal));
    if (!removal.gone()) return {};
  }
  if (left.empty()) return {};
  CAIRN_TRY(sentence, describe_outcome(place, planned, kFinished));
  finished.warnings.push_back(std::move(sentence));
  return {};
}

Result<Finished> recover_from_journal(const Place& here, const format::JournalFacts& facts) {
  Finished finished;
  if (!facts.adding.base.empty()) {
    const std::string save = shown(here, facts.adding.base) + ": a save of it was cut short ";
    // Which finishes what it left half-named; who holds the lock has done that.
    const auto held =
        lock_prefix(here.directory, facts.adding.base, {std::chrono::milliseconds(0), {}});
    if (!held && held.error().code == Code::Io) return held.error();  // a sync may have failed
    CAIRN_TRY(done, committed(here, facts.adding));
    CAIRN_CHECK(here.directory.sync());  // its writer may have died before it could
    if (!done) {
      finished.warnings.push_back(save + "before it was whole; what it had written is gone");
      return finished;
    }
    CAIRN_TRY(listed, list_added(here, facts));
    if (listed) {
      finished.warnings.push_back(save + "when it was whole; " + format::quoted(facts.catalog) +
                                  " lists it now");
    }
  }
  CAIRN_TRY(planned, planned_removals(here, facts, false));
  for (const PlannedRemoval& each : planned) CAIRN_CHECK(finish(here, each, finished));
  return finished;
}

Place place_of(const Place& place, const format::JournalFacts& facts) {
  return {place.dir, place.directory, facts.catalog, place.follow_links};
}

}  // namespace

Error with_advice_to_free(Error error) {
  if (error.code == Code::NoSpace) {
    error.what +=
        "; to remove needs a few kB for the journal and the catalog: free them, or remove a "
        "checkpoint by hand, its .index and .cairn before its .data files";
  }
  return error;
}

std::optional<Error> refusal_of_journal(const os::Directory& directory) {
  if (directory.may_replace(kJournalName)) return std::nullopt;
  const auto facts = read_journal(directory);
  const bool named = facts && *facts;
  return Error{
      Code::Io, EPERM,
      (std::filesystem::path(directory.path()) / kJournalName).string() +
          ": is another user's, whose change of this directory was cut short, and nobody else may "
          "replace it, for the directory has the sticky bit; he, the directory's owner or root " +
          std::string(kHowToFinish) +
          (named ? " and its catalog (--catalog " + (*facts)->catalog + ")" : std::string()) +
          ", and until then nobody else saves, moves or removes here"};
}

Result<void> write_journal(const os::Directory& directory, const format::JournalFacts& facts) {
  if (auto refused = refusal_of_journal(directory)) return *std::move(refused);
  // Or the checkpoint would be written and never listed, and a journal be there that only this user
  // can take away.
  if (facts.leaving.empty() && !directory.may_replace(facts.catalog)) {
    return Error{Code::Io, EPERM,
                 (std::filesystem::path(directory.path()) / facts.catalog).string() +
                     ": is another user's, and nobody else may replace it, for the directory has "
                     "the sticky bit; take that away (chmod -t), or save to another directory"};
  }
  const std::string text = format::encode_journal(facts);
  CAIRN_TRY(temp, write_temp_file(directory, std::string(kJournalName), format::as_bytes(text)));
  return temp.publish(TempFile::Taken::Replace);
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

Result<Recovery> recover_from_journal(const Place& place) {
  Recovery recovery;
  Finished finished;
  const auto refused = refusal_of_journal(place.directory);
  if (refused) recovery.warnings.push_back(refused->what);
  using Nothing = std::optional<format::JournalFacts>;
  CAIRN_TRY(facts, refused ? Nothing() : read_journal(place.directory));
  if (facts) {
    CAIRN_TRY(done, recover_from_journal(place_of(place, *facts), *facts));
    finished = std::move(done);
  }
  if (!refused) remove_journal(place.directory);
  CAIRN_TRY(names, place.directory.names());
  CAIRN_CHECK(sweep_all(place.directory, names));
  recovery.names = std::move(names);
  std::ranges::move(finished.warnings, std::back_inserter(recovery.warnings));
  for (const PlannedRemoval& each : finished.in_doubt) {
    CAIRN_TRY(sentence, describe_outcome(place, each, {}));
    if (sentence.empty()) sentence = cut_short(place, each) + std::string(kFinished);
    recovery.warnings.push_back(std::move(sentence));
  }
  return recovery;
}

Result<JournalPreview> preview_journal(const Place& place) {
  JournalPreview coming;
  CAIRN_TRY(facts, read_journal(place.directory));
  if (!facts) return coming;
  const Place here = place_of(place, *facts);
  bool lists = false;
  if (!facts->adding.base.empty()) {
    const std::string prefix = shown(here, facts->adding.base);
    const std::string save = prefix + ": a save of it was cut short ";
    CAIRN_TRY(done, committed(here, facts->adding));
    if (!done) {
      coming.checkpoints.push_back(
          {prefix, save + "before it was whole; what it had written goes"});
      return coming;
    }
    CAIRN_TRY(same, unchanged(here, facts->adding, facts->catalog));
    lists = same;
    if (lists) {
      coming.checkpoints.push_back({prefix, save + "when it was whole; " +
                                                format::quoted(facts->catalog) + " is to list it"});
    }
  }
  CAIRN_TRY(planned, planned_removals(here, *facts, lists));
  for (const PlannedRemoval& each : planned) {
    CAIRN_TRY(left, what_is_left(here.directory, *each.what, IdentityCheck::ByFileAndNames));
    if (left.empty()) continue;
    if (each.state == PlannedRemoval::State::Goes)
      std::ranges::copy(left, std::back_inserter(coming.files));
    CAIRN_TRY(sentence, describe_outcome(here, each, "; what is left of it goes"));
    if (!sentence.empty())
      coming.checkpoints.push_back({shown(here, each.what->base), std::move(sentence)});
  }
  return coming;
}

void roll_back(const Place& place, const format::JournalFacts& facts) {
  const auto done = committed(place, facts.adding);
  if (done && !*done) remove_journal(place.directory);
}

void remove_journal(const os::Directory& directory) { (void)directory.remove(kJournalName); }

}  // namespace cairn::internal
