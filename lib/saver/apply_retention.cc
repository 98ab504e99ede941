#include "lib/saver/apply_retention.h"

#include <algorithm>
#include <set>

#include "lib/open/load.h"
#include "lib/read/names.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/saver/links_here.h"
#include "lib/saver/other_catalogs.h"
#include "lib/try.h"

namespace cairn::internal {

namespace {

bool goes(const Decision& judged) { return judged.retained == Retained::Deleted; }

// What is no checkpoint of the directory's own cannot be judged: not whether it is pinned either.
void protect_unreadable(const Place& place, const HistoryEntry& listed, Decision& judged,
                        std::vector<std::string>& warnings) {
  const auto from = from_directory(place.dir, listed.path);
  const bool in_directory = !from.has_parent_path();
  const std::string why =
      in_directory ? "stays listed, because its index is a link that leads out of the directory, "
                     "so it may be pinned; with follow_links (--follow-links) the rules apply to it"
                   : "its files stay, because they are in another directory";
  judged.retained = in_directory ? Retained::Listed : Retained::Preserved;
  judged.why += "; " + why;
  warnings.push_back(listed.path.string() + ": " +
                     (in_directory ? "" : "leaves the catalog, and ") + why);
}

// What is to go by the rules and must not: as a pinned one, unless `retained` says more.
class Protection {
 public:
  Protection(const Place& place, std::span<const std::string> names, const History& history,
             RetentionResult& result)
      : place_(place), names_(names), history_(history), result_(result) {}

  Result<std::vector<std::string>> run() {
    const auto elsewhere = other_listings(place_, names_);
    const std::string doubt = elsewhere.doubt();
    if (!doubt.empty()) warnings_.push_back(doubt + "; until then no checkpoint is removed here");
    for_each_removed([&](std::size_t i) { apply_retention(i, elsewhere, doubt); });
    CAIRN_CHECK(protect_linked(elsewhere));
    return std::move(warnings_);
  }

 private:
  template <class Visit>
  void for_each_removed(Visit visit) {
    for (std::size_t i = 0; i < history_.listed.size(); ++i) {
      if (goes(result_.of[i])) visit(i);
    }
  }

  void protect(std::size_t i, Retained retained, const std::string& since) {
    const bool listed = retained == Retained::Listed;
    const std::string stays =
        (listed ? "stays listed, because " : "its files stay, because ") + since;
    result_.of[i].retained = retained;
    result_.of[i].why += "; " + stays;
    warnings_.push_back(history_.listed[i].path.string() + ": " +
                        (listed ? "" : "leaves the catalog, but ") + stays);
  }

  void apply_retention(std::size_t i, const OtherListings& elsewhere, const std::string& doubt) {
    const HistoryEntry& listed = history_.listed[i];
    if (listed.base.empty()) return protect_unreadable(place_, listed, result_.of[i], warnings_);
    const auto other = elsewhere.listed.find(listed.base);
    if (other != elsewhere.listed.end()) {
      return protect(i, Retained::Preserved,
                     "another catalog of this directory, " + other->second + ", lists it");
    }
    if (!listed.known.unread.empty()) return protect(i, result_.protected_as, listed.known.unread);
    // Listed, since who leaves the catalog would not go when it is known that nobody else has it.
    if (!doubt.empty()) result_.of[i] = {Retained::Listed, result_.of[i].why + "; but " + doubt};
  }

  // What stays may keep others by its links in turn.
  Result<void> protect_linked(const OtherListings& elsewhere) {
    CAIRN_TRY(links, LinksHere::read(place_, names_, outside_of(history_, elsewhere)));
    bool again = !links.none();
    while (again) {
      again = false;
      std::set<std::string> along;
      for_each_removed([&](std::size_t i) { along.insert(history_.listed[i].base); });
      for (std::size_t i = 0; i < history_.listed.size(); ++i) {
        if (!goes(result_.of[i])) continue;
        CAIRN_TRY(files, checkpoint_files(place_.directory, names_, history_.listed[i].base));
        CAIRN_TRY(link, links.to(files, along));
        if (!link) continue;
        protect(i, result_.protected_as, *link);
        again = true;
      }
    }
    return {};
  }

  const Place& place_;
  std::span<const std::string> names_;
  const History& history_;
  RetentionResult& result_;
  std::vector<std::string> warnings_;
};

}  // namespace

Result<std::vector<std::string>> protect_referenced(const Place& place,
                                                    std::span<const std::string> names,
                                                    const History& history,
                                                    RetentionResult& result) {
  if (std::ranges::none_of(result.of, goes)) return std::vector<std::string>();
  return Protection(place, names, history, result).run();
}

void apply(const RetentionResult& result, std::span<const Retention> rules, History& history) {
  std::vector<HistoryEntry> stay;
  for (std::size_t i = 0; i < history.listed.size(); ++i) {
    if (result.of[i].retained == Retained::Listed) stay.push_back(std::move(history.listed[i]));
  }
  history.listed = std::move(stay);
  if (const auto* rule = rule_of(rules, Retention::Rule::TensorFlowSaver);
      rule != nullptr && rule->hours > 0) {
    history.grid = {rule->hours, result.grid.next_keep_s};
  }
  if (rule_of(rules, Retention::Rule::TensorFlowManager) != nullptr) {
    history.has_timestamps = true;
    history.last_preserved_s = result.grid.last_preserved_s;
  }
}

Result<std::vector<format::JournalCheckpoint>> files_to_remove(const Place& place,
                                                               std::span<const std::string> names,
                                                               const History& history,
                                                               const RetentionResult& result) {
  std::vector<format::JournalCheckpoint> going;
  for (std::size_t i = 0; i < history.listed.size(); ++i) {
    if (result.of[i].retained != Retained::Deleted || history.listed[i].base.empty()) continue;
    CAIRN_TRY(files, checkpoint_files(place.directory, names, history.listed[i].base));
    going.push_back(std::move(files));
  }
  return going;
}

// By the newest that can say it: one whose P.cairn cannot be read stays as it is.
Result<void> write_grid(const Place& place, const History& history, const LockWait& wait) {
  for (auto at = history.listed.rbegin(); history.grid && at != history.listed.rend(); ++at) {
    if (at->base.empty() || !at->known.unread.empty()) continue;
    CAIRN_TRY(twin, place.directory.duplicate());
    auto location = locate_in(std::move(twin), at->base, at->path);
    if (location) location->links = links_of(place.follow_links);
    if (!location || !location->has(kCairnSuffix)) continue;
    CAIRN_TRY(index, load_own_index(*location));
    if (!index.current) continue;
    auto done = change_saver_metadata(*location, wait, [&](SaverMetadata& metadata) {
      metadata.grid = history.grid;
      return true;
    });
    if (done || done.error().code != Code::NotFound) return done;
  }
  return {};
}

}  // namespace cairn::internal
