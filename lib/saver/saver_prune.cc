// What a Saver does to the checkpoints that are there: it lists them, pins them, and prunes:
// removes those that no rule of retention keeps.

#include <algorithm>
#include <iterator>
#include <utility>

#include "cairn/convert.h"
#include "lib/edit/transfer.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/os/retries.h"
#include "lib/read/names.h"
#include "lib/saver/apply_retention.h"
#include "lib/saver/catalog_file.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/journal.h"
#include "lib/saver/orphan_indexes.h"
#include "lib/saver/saver_metadata.h"
#include "lib/saver/saver_state.h"
#include "lib/saver/without_room.h"
#include "lib/try.h"

namespace cairn {
namespace {

using internal::History;
using internal::HistoryEntry;
using internal::Retained;
using internal::RetentionResult;

}  // namespace

Result<std::vector<std::filesystem::path>> Saver::State::last_checkpoints() const {
  CAIRN_TRY(history, internal::read_history(place()));
  std::vector<std::filesystem::path> paths;
  for (const HistoryEntry& listed : history.listed) paths.push_back(listed.path);
  return paths;
}

// The names in the directory; what there is to say of it is a warning of the Saver's.
Result<std::vector<std::string>> Saver::State::recover_from_journal() {
  auto recovery = internal::recover_and_sweep(place(), now_s());
  if (!recovery) return internal::with_advice_to_free(std::move(recovery).error());
  std::ranges::move(recovery->warnings, std::back_inserter(warnings_));
  return std::move(recovery->names);
}

Result<void> Saver::State::pin(const std::filesystem::path& prefix, bool pinned) {
  CAIRN_CHECK(wait_for_pending());
  const auto lock = internal::Lock::of_directory(directory_, lock_wait());
  if (!lock) return lock.error();
  CAIRN_CHECK(recover_from_journal());
  const std::string base = prefix.filename().string();
  CAIRN_TRY(twin, directory_.duplicate());
  CAIRN_TRY(location, internal::locate_in(std::move(twin), base, dir_ / base));
  location.links = internal::links_of(options_.follow_links);
  TransferOptions importing;
  importing.follow_links = options_.follow_links;
  importing.lock_wait = options_.lock_wait;
  importing.exec.stop = options_.exec.stop;
  os::Retries retries;
  while (true) {
    // Of TensorFlow's making, or written anew by it since.
    const bool own = location.has(internal::kCairnSuffix);
    const auto current = own ? internal::load_own_index(location) : Error{Code::NotFound, 0, {}};
    if (!current || !current->current)
      CAIRN_CHECK(internal::import_in(directory_, base, dir_ / base, importing));
    auto done = internal::change_saver_metadata(
        location, lock_wait(), [pinned](internal::SaverMetadata& metadata) {
          return std::exchange(metadata.pinned, pinned) != pinned;
        });
    // Another may have published without P.cairn between the two.
    if (done || done.error().code != Code::NotFound || !retries.once_more()) return done;
  }
}

// Those that the catalog does not list: nobody's to remove.
Result<void> Saver::State::add_unlisted(const History& history, std::span<const std::string> names,
                                        std::multimap<double, RetentionDecision>& decisions) const {
  for (const std::string& base : internal::checkpoints_among(names)) {
    const auto is_it = [&](const HistoryEntry& listed) {
      return listed.base == base || (listed.base.empty() && listed.path == dir_ / base);
    };
    if (std::ranges::any_of(history.listed, is_it)) continue;
    CAIRN_TRY(known, internal::checkpoint_facts(place(), base));
    decisions.emplace(known.saved_s,
                      RetentionDecision{dir_ / base, true,
                                        known.pinned ? "pinned" : "the catalog does not list it"});
  }
  return {};
}

// The bases of those whose files stay, and why.
Result<std::map<std::string, std::string>> Saver::State::release(
    History history, const RetentionResult& result, std::span<const std::string> names) const {
  const double grid_before_s = grid_of(history).next_keep_s;
  CAIRN_TRY(leaving, internal::files_to_remove(place(), names, history, result));
  internal::apply(result, options_.keep_any_of, history);
  const bool grid_moved = history.grid && history.grid->next_keep_s != grid_before_s;
  const auto announce = [&](std::size_t left) -> Result<void> {
    if (left > 0 || leaving.empty())
      CAIRN_CHECK(internal::write_journal(directory_, {options_.latest_filename, {}, leaving, {}}));
    if (grid_moved) CAIRN_CHECK(internal::write_grid(place(), history, lock_wait()));
    return internal::write_history(place(), history);
  };
  CAIRN_CHECK(internal::with_space(place(), leaving, announce));
  std::map<std::string, std::string> stayed;
  for (const auto& what : leaving) {
    CAIRN_TRY(removal,
              internal::remove_checkpoint_files(directory_, what, internal::IdentityCheck::ByFile));
    if (!removal.gone()) stayed.emplace(what.base, internal::describe_remaining(removal));
  }
  internal::remove_journal(directory_);
  return stayed;
}

Result<std::vector<RetentionDecision>> Saver::State::prune(bool dry_run) {
  CAIRN_CHECK(wait_for_pending());
  std::optional<internal::Lock> lock;
  if (!dry_run) {
    CAIRN_TRY(taken, internal::Lock::of_directory(directory_, lock_wait()));
    lock.emplace(std::move(taken));
  }
  CAIRN_TRY(names, dry_run ? directory_.names() : recover_from_journal());
  CAIRN_TRY(history, internal::read_history(place()));
  std::multimap<double, RetentionDecision>
      by_age;  // those of the same age in the order of the catalog
  CAIRN_CHECK(add_unlisted(history, names, by_age));
  RetentionResult result = apply_retention(history, internal::RemovalLimit::Prune);
  CAIRN_CHECK(internal::protect_referenced(place(), names, history, result));  // decisions say it
  bool changes = false;
  for (std::size_t i = 0; i < history.listed.size(); ++i) {
    const HistoryEntry& listed = history.listed[i];
    const auto& [retained, why] = result.of[i];
    changes |= retained != Retained::Listed;
    by_age.emplace(listed.known.saved_s,
                   RetentionDecision{listed.path, retained != Retained::Deleted, why});
  }
  std::vector<RetentionDecision> decisions;
  for (auto& [time_s, decision] : by_age) decisions.push_back(std::move(decision));
  if (dry_run || !changes) return decisions;
  auto stayed = release(std::move(history), result, names);
  if (!stayed) return internal::with_advice_to_free(std::move(stayed).error());
  for (RetentionDecision& decision : decisions) {
    const auto why = stayed->find(decision.prefix.filename().string());
    if (!decision.kept && why != stayed->end()) decision = {decision.prefix, true, why->second};
  }
  return decisions;
}

}  // namespace cairn
