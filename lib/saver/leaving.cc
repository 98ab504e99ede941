#include "lib/saver/leaving.h"

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

bool goes(const Judged& judged) { return judged.fate == Fate::Deleted; }

// What is no checkpoint of the directory's own cannot be judged: not whether it is pinned either.
void spare_unjudged(const Place& place, const Listed& listed, Judged& judged,
                    std::vector<std::string>& notices) {
  const auto from = from_directory(place.dir, listed.path);
  const bool in_directory = !from.has_parent_path();
  const std::string why =
      in_directory ? "stays listed, since its index is a link that leads out of the directory, so "
                     "nobody knows whether it is pinned; follow_links (--follow-links) lets it go "
                     "by the rules"
                   : "its files, in another directory, stay";
  judged.fate = in_directory ? Fate::Listed : Fate::Preserved;
  judged.why += "; " + why;
  notices.push_back(listed.path.string() + ": " + (in_directory ? "" : "leaves the catalog, and ") +
                    why);
}

// What is to go by the rules and must not: as a pinned one, unless `fate` says more.
class Sparing {
 public:
  Sparing(const Place& place, std::span<const std::string> names, const History& history,
          Judgement& judgement)
      : place_(place), names_(names), history_(history), judgement_(judgement) {}

  Result<std::vector<std::string>> run() {
    const auto elsewhere = listed_elsewhere(place_, names_);
    const std::string doubt = elsewhere.doubt();
    if (!doubt.empty()) notices_.push_back(doubt + "; until then nothing is let go of here");
    for_each_going([&](std::size_t i) { judge(i, elsewhere, doubt); });
    CAIRN_CHECK(spare_linked(elsewhere));
    return std::move(notices_);
  }

 private:
  template <class Visit>
  void for_each_going(Visit visit) {
    for (std::size_t i = 0; i < history_.listed.size(); ++i) {
      if (goes(judgement_.of[i])) visit(i);
    }
  }

  void spare(std::size_t i, Fate fate, const std::string& since) {
    const bool listed = fate == Fate::Listed;
    const std::string stays = (listed ? "stays listed, since " : "its files stay, since ") + since;
    judgement_.of[i].fate = fate;
    judgement_.of[i].why += "; " + stays;
    notices_.push_back(history_.listed[i].path.string() + ": " +
                       (listed ? "" : "leaves the catalog, but ") + stays);
  }

  void judge(std::size_t i, const Elsewhere& elsewhere, const std::string& doubt) {
    const Listed& listed = history_.listed[i];
    if (listed.base.empty()) return spare_unjudged(place_, listed, judgement_.of[i], notices_);
    const auto other = elsewhere.listed.find(listed.base);
    if (other != elsewhere.listed.end()) {
      return spare(i, Fate::Preserved,
                   other->second + ", another catalog of this directory, lists it");
    }
    if (!listed.known.unread.empty()) return spare(i, judgement_.spared, listed.known.unread);
    // Listed, since who leaves the catalog would not go when it is known that nobody else has it.
    if (!doubt.empty()) judgement_.of[i] = {Fate::Listed, judgement_.of[i].why + "; but " + doubt};
  }

  // What stays may keep others by its links in turn.
  Result<void> spare_linked(const Elsewhere& elsewhere) {
    CAIRN_TRY(links, LinksHere::read(place_, names_, outside_of(history_, elsewhere)));
    bool again = !links.none();
    while (again) {
      again = false;
      std::set<std::string> along;
      for_each_going([&](std::size_t i) { along.insert(history_.listed[i].base); });
      for (std::size_t i = 0; i < history_.listed.size(); ++i) {
        if (!goes(judgement_.of[i])) continue;
        CAIRN_TRY(files, members_of(place_.directory, names_, history_.listed[i].base));
        CAIRN_TRY(link, links.to(files, along));
        if (!link) continue;
        spare(i, judgement_.spared, *link);
        again = true;
      }
    }
    return {};
  }

  const Place& place_;
  std::span<const std::string> names_;
  const History& history_;
  Judgement& judgement_;
  std::vector<std::string> notices_;
};

}  // namespace

Result<std::vector<std::string>> spare_others(const Place& place,
                                              std::span<const std::string> names,
                                              const History& history, Judgement& judgement) {
  if (std::ranges::none_of(judgement.of, goes)) return std::vector<std::string>();
  return Sparing(place, names, history, judgement).run();
}

void apply(const Judgement& judgement, std::span<const Retention> rules, History& history) {
  std::vector<Listed> stay;
  for (std::size_t i = 0; i < history.listed.size(); ++i) {
    if (judgement.of[i].fate == Fate::Listed) stay.push_back(std::move(history.listed[i]));
  }
  history.listed = std::move(stay);
  if (const auto* rule = rule_of(rules, Retention::Rule::TensorFlowSaver);
      rule != nullptr && rule->hours > 0) {
    history.grid = {rule->hours, judgement.grid.next_keep_s};
  }
  if (rule_of(rules, Retention::Rule::TensorFlowManager) != nullptr) {
    history.has_timestamps = true;
    history.last_preserved_s = judgement.grid.last_preserved_s;
  }
}

Result<std::vector<format::JournalCheckpoint>> going(const Place& place,
                                                     std::span<const std::string> names,
                                                     const History& history,
                                                     const Judgement& judgement) {
  std::vector<format::JournalCheckpoint> going;
  for (std::size_t i = 0; i < history.listed.size(); ++i) {
    if (judgement.of[i].fate != Fate::Deleted || history.listed[i].base.empty()) continue;
    CAIRN_TRY(files, members_of(place.directory, names, history.listed[i].base));
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
    auto done = change_marks(*location, wait, [&](Marks& marks) {
      marks.grid = history.grid;
      return true;
    });
    if (done || done.error().code != Code::NotFound) return done;
  }
  return {};
}

}  // namespace cairn::internal
