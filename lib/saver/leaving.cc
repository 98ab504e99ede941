#include "lib/saver/leaving.h"

#include <algorithm>

#include "lib/saver/checkpoint_files.h"
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

}  // namespace

std::vector<std::string> spare_others(const Place& place, std::span<const std::string> names,
                                      const History& history, Judgement& judgement) {
  if (std::ranges::none_of(judgement.of, goes)) return {};
  const auto elsewhere = listed_elsewhere(place, names);
  const std::string doubt = elsewhere.doubt();
  std::vector<std::string> notices;
  if (!doubt.empty()) notices.push_back(doubt + "; until then nothing is let go of here");
  for (std::size_t i = 0; i < history.listed.size(); ++i) {
    const Listed& listed = history.listed[i];
    if (!goes(judgement.of[i])) continue;
    if (listed.base.empty()) {
      spare_unjudged(place, listed, judgement.of[i], notices);
      continue;
    }
    const auto other = elsewhere.listed.find(listed.base);
    if (other == elsewhere.listed.end()) {
      // Listed, since who leaves the catalog would not go when it is known that nobody else has it.
      if (!doubt.empty()) judgement.of[i] = {Fate::Listed, judgement.of[i].why + "; but " + doubt};
      continue;
    }
    const std::string stays =
        "its files stay, since " + other->second + ", another catalog of this directory, lists it";
    judgement.of[i].fate = Fate::Preserved;
    judgement.of[i].why += "; " + stays;
    notices.push_back(listed.path.string() + ": leaves the catalog, but " + stays);
  }
  return notices;
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

}  // namespace cairn::internal
