// Two families of rules, which do not mix.
//
// TensorFlow's are queues: when there are too many, the oldest leaves, and at that moment it is
// either preserved, by a grid of times, or deleted. The two differ in everything else:
//
//                            Saver                              CheckpointManager
//   leave at one save        one at most                        as many as are too many
//   preserved                saved after the grid's next point  `hours` or more after the last
//                                                               preserved one
//   the grid starts at       construction + hours               construction - 1 s
//   and then moves by        `hours`, to wherever that is       to when the preserved one was saved
//
// So after a long pause the Saver preserves several neighbours, until its grid has caught up, and
// the Manager preserves one. Both are followed to the comparison and to the rounding, because users
// rely on which files are there; tests/interop compares them with TensorFlow's own code. There is
// one difference: `max_to_keep` 0 lists everything, where TensorFlow's Saver lists only the newest.
//
// Ours look at the whole list each time and remember nothing: a checkpoint stays as long as one
// rule keeps it. Each rule is made so that the next run leaves what one run has left.

#include "lib/saver/retention.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "lib/try.h"

namespace cairn {

Retention Retention::tensorflow_saver(std::uint64_t max_to_keep, double keep_every_hours) {
  return {.rule = Rule::TensorFlowSaver, .count = max_to_keep, .hours = keep_every_hours};
}

Retention Retention::tensorflow_manager(std::uint64_t max_to_keep, double keep_every_hours) {
  return {.rule = Rule::TensorFlowManager, .count = max_to_keep, .hours = keep_every_hours};
}

Retention Retention::newest(std::uint64_t count) { return {.rule = Rule::Newest, .count = count}; }

Retention Retention::every_steps(std::uint64_t steps) {
  return {.rule = Rule::EverySteps, .count = steps};
}

Retention Retention::every_hours(double hours) {
  return {.rule = Rule::EveryDuration, .hours = hours};
}

Retention Retention::best_by(std::string metric, Order best, std::uint64_t count) {
  return {.rule = Rule::Best, .count = count, .metric = std::move(metric), .best = best};
}

namespace internal {
namespace {

using Rule = Retention::Rule;

constexpr double kSecondsPerHour = 3600;

std::string text_of(double number) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, number).ptr};
}

std::string newest_of(const Retention& rule) { return "the newest " + std::to_string(rule.count); }

std::string best_of(const Retention& rule) {
  return "best " + std::to_string(rule.count) + " by " + rule.metric;
}

std::string one_every(const Retention& rule) { return "one every " + text_of(rule.hours) + " h"; }

// ---- Whether rules make sense

bool is_tensorflow(const Retention& rule) {
  return rule.rule == Rule::TensorFlowSaver || rule.rule == Rule::TensorFlowManager;
}

bool keeps_nothing(const Retention& rule) {
  return (rule.rule == Rule::Newest || rule.rule == Rule::Best) && rule.count == 0;
}

Error invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

Result<void> check_rule(const Retention& rule) {
  if (!(rule.hours >= 0)) {
    return invalid("a retention rule asks for every " + text_of(rule.hours) +
                   " hours; hours are 0 or more");
  }
  if (rule.rule == Rule::EverySteps && rule.count == 0)
    return invalid("a retention rule asks for every 0 steps; no step is a multiple of 0");
  if (rule.rule == Rule::Best && rule.metric.empty())
    return invalid("a retention rule asks for the best checkpoints by a metric without a name");
  return {};
}

// ---- TensorFlow's

// TensorFlow's Saver has its hours in a protocol buffer's field of 32 bits.
double saver_interval_s(const Retention& rule) {
  return double{static_cast<float>(rule.hours)} * kSecondsPerHour;
}

// Whether the grid preserves what was saved then; if so, it moves on.
bool preserves(const Retention& rule, double saved_s, KeepState& grid) {
  if (rule.hours == 0) return false;
  if (rule.rule == Rule::TensorFlowSaver) {
    if (!(saved_s > grid.next_keep_s)) return false;
    grid.next_keep_s += saver_interval_s(rule);
    return true;
  }
  if (!(saved_s - rule.hours * kSecondsPerHour >= grid.last_preserved_s)) return false;
  grid.last_preserved_s = saved_s;
  return true;
}

// A pin changes nothing for the others: the grid is asked first, and does not see it.
Decision decide_excess(const Retention& rule, const CheckpointFacts& known, KeepState& grid) {
  if (preserves(rule, known.saved_s, grid)) return {Retained::Preserved, one_every(rule)};
  if (known.pinned) return {Retained::Preserved, "pinned"};
  std::string why = "older than " + newest_of(rule);
  if (rule.hours > 0) why += ", and too early to be " + one_every(rule);
  return {Retained::Deleted, std::move(why)};
}

void apply_tensorflow(const Retention& rule, std::span<const CheckpointFacts> listed,
                      RemovalLimit pace, RetentionResult& result) {
  const bool endless = rule.count == 0;
  const std::size_t excess =
      endless || listed.size() <= rule.count ? 0 : listed.size() - rule.count;
  const bool one_at_most = rule.rule == Rule::TensorFlowSaver && pace == RemovalLimit::Save;
  const std::size_t leaving = one_at_most ? std::min<std::size_t>(excess, 1) : excess;
  for (std::size_t i = 0; i < listed.size(); ++i) {
    if (i < leaving) {
      result.of.push_back(decide_excess(rule, listed[i], result.grid));
    } else if (i < excess) {
      result.of.push_back({Retained::Listed, "older than " + newest_of(rule) +
                                                 ", but each save removes one at most"});
    } else {
      result.of.push_back(
          {Retained::Listed, endless ? "everything stays" : "one of " + newest_of(rule)});
    }
  }
}

// ---- Ours

// What one rule says of one checkpoint.
struct RuleResult {
  bool stays = false;
  std::string why;
};
using RuleResults = std::vector<RuleResult>;  // parallel to `listed`

RuleResults by_newest(const Retention& rule, std::span<const CheckpointFacts> listed) {
  RuleResults results;
  for (std::size_t i = 0; i < listed.size(); ++i) {
    const bool stays = listed.size() - i <= rule.count;
    results.push_back({stays, (stays ? "one of " : "older than ") + newest_of(rule)});
  }
  return results;
}

bool is_multiple(std::int64_t step, std::uint64_t of) {
  const std::uint64_t magnitude =
      step < 0 ? 0 - static_cast<std::uint64_t>(step) : static_cast<std::uint64_t>(step);
  return magnitude % of == 0;
}

RuleResults by_steps(const Retention& rule, std::span<const CheckpointFacts> listed) {
  CAIRN_ASSERT(rule.count != 0);
  RuleResults results;
  for (const CheckpointFacts& known : listed) {
    if (!known.step) {
      results.push_back({false, "without a step"});
      continue;
    }
    const bool stays = is_multiple(*known.step, rule.count);
    results.push_back({stays, "step " + std::to_string(*known.step) +
                                  (stays ? " is a multiple of " : " is not a multiple of ") +
                                  std::to_string(rule.count)});
  }
  return results;
}

RuleResults by_duration(const Retention& rule, std::span<const CheckpointFacts> listed) {
  RuleResults results;
  double kept_s = 0;
  for (const CheckpointFacts& known : listed) {
    // Written so that a time that is not a number, in a damaged catalog, deletes nothing.
    const bool too_early = known.saved_s - kept_s < rule.hours * kSecondsPerHour;
    if (!results.empty() && too_early) {
      results.push_back({false, "too early to be " + one_every(rule)});
      continue;
    }
    results.push_back({true, one_every(rule)});
    kept_s = known.saved_s;
  }
  return results;
}

const double* find_metric(const CheckpointFacts& known, std::string_view name) {
  for (const auto& [metric, value] : known.metrics) {
    if (metric == name) return &value;
  }
  return nullptr;
}

struct Candidate {
  double badness = 0;
  std::size_t position = 0;
};

// Those that have the metric, best first; of equals the newer.
std::vector<Candidate> ranked(const Retention& rule, std::span<const CheckpointFacts> listed) {
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < listed.size(); ++i) {
    const double* value = find_metric(listed[i], rule.metric);
    if (value == nullptr || std::isnan(*value)) continue;
    candidates.push_back({rule.best == Retention::Order::Lowest ? *value : -*value, i});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.badness != b.badness ? a.badness < b.badness : a.position > b.position;
  });
  return candidates;
}

RuleResults by_metric(const Retention& rule, std::span<const CheckpointFacts> listed) {
  RuleResults results;
  for (const CheckpointFacts& known : listed) {
    const double* value = find_metric(known, rule.metric);
    results.push_back({false, value == nullptr
                                  ? "without a value of " + rule.metric
                                  : "not among the " + best_of(rule) + ": " + text_of(*value)});
  }
  std::vector<Candidate> best = ranked(rule, listed);
  best.resize(std::min<std::size_t>(best.size(), rule.count));
  for (const Candidate& each : best) {
    const double value = *find_metric(listed[each.position], rule.metric);
    results[each.position] = {true, best_of(rule) + ": " + text_of(value)};
  }
  return results;
}

RuleResults rule_results(const Retention& rule, std::span<const CheckpointFacts> listed) {
  switch (rule.rule) {
    case Rule::Newest:
      return by_newest(rule, listed);
    case Rule::EverySteps:
      return by_steps(rule, listed);
    case Rule::EveryDuration:
      return by_duration(rule, listed);
    case Rule::Best:
      return by_metric(rule, listed);
    case Rule::TensorFlowSaver:
    case Rule::TensorFlowManager:
      break;
  }
  CAIRN_ASSERT(false);
  return {};
}

void add_reason(std::string& why, std::string_view reason) {
  if (!why.empty()) why += "; ";
  why += reason;
}

void apply_any_of(std::span<const Retention> rules, std::span<const CheckpointFacts> listed,
                  RetentionResult& result) {
  std::vector<RuleResults> by_rule;
  for (const Retention& rule : rules) by_rule.push_back(rule_results(rule, listed));
  for (std::size_t i = 0; i < listed.size(); ++i) {
    std::string why_stays;
    std::string why_goes;
    if (i + 1 == listed.size()) add_reason(why_stays, "the latest");
    if (listed[i].pinned) add_reason(why_stays, "pinned");
    if (rules.empty()) add_reason(why_stays, "everything stays");
    for (const RuleResults& results : by_rule)
      add_reason(results[i].stays ? why_stays : why_goes, results[i].why);
    const bool stays = !why_stays.empty();
    result.of.push_back(
        {stays ? Retained::Listed : Retained::Deleted, stays ? why_stays : why_goes});
  }
}

}  // namespace

const Retention* rule_of(std::span<const Retention> rules, Retention::Rule kind) noexcept {
  const auto found = std::ranges::find(rules, kind, &Retention::rule);
  return found == rules.end() ? nullptr : &*found;
}

Result<void> check_rules(std::span<const Retention> rules) {
  for (const Retention& rule : rules) {
    CAIRN_CHECK(check_rule(rule));
    if (is_tensorflow(rule) && rules.size() > 1) {
      return invalid("a retention rule of TensorFlow must be the only rule, but there are " +
                     std::to_string(rules.size()) + " rules");
    }
  }
  if (!rules.empty() && std::all_of(rules.begin(), rules.end(), keeps_nothing)) {
    return invalid(
        "the retention rules keep no checkpoint, because their counts are 0; to keep everything, "
        "give no rule");
  }
  return {};
}

KeepState first_grid(std::span<const Retention> rules, double now_s) {
  if (rules.empty() || !is_tensorflow(rules.front())) return {};
  if (rules.front().rule == Rule::TensorFlowSaver)
    return {.next_keep_s = now_s + saver_interval_s(rules.front())};
  // The second is TensorFlow's: a Manager that is made anew at once must still track what the one
  // before it has just saved.
  return {.last_preserved_s = now_s - 1};
}

RetentionResult apply_retention(std::span<const Retention> rules,
                                std::span<const CheckpointFacts> listed, const KeepState& grid,
                                RemovalLimit pace) {
  RetentionResult result{{}, grid, Retained::Listed};
  if (!rules.empty() && is_tensorflow(rules.front())) {
    apply_tensorflow(rules.front(), listed, pace, result);
    result.protected_as = Retained::Preserved;
  } else {
    apply_any_of(rules, listed, result);
  }
  return result;
}

}  // namespace internal
}  // namespace cairn
