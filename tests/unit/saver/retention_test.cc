#include "lib/saver/retention.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace cairn::internal {
namespace {

constexpr double kHour = 3600;
constexpr double kQuarter = 900;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Rules = std::vector<Retention>;
using List = std::vector<CheckpointFacts>;

CheckpointFacts at(double saved_s) { return {.saved_s = saved_s}; }

List of_steps(std::initializer_list<std::optional<std::int64_t>> steps) {
  List list;
  for (const auto& step : steps) list.push_back({.step = step});
  return list;
}

List of_losses(std::initializer_list<double> losses) {
  List list;
  for (const double loss : losses) list.push_back({.metrics = {{"loss", loss}}});
  return list;
}

List saved_at(std::initializer_list<double> hours) {
  List list;
  for (const double hour : hours) list.push_back(at(hour * kHour));
  return list;
}

// The fates as letters: Listed, Preserved, Deleted.
std::string fates(const RetentionResult& judgement) {
  std::string letters;
  for (const Decision& each : judgement.of)
    letters += "LPD"[static_cast<std::size_t>(each.retained)];
  return letters;
}

std::string fates(const Rules& rules, const List& list) {
  return fates(apply_retention(rules, list, {}, RemovalLimit::Save));
}

std::vector<std::string> whys(const Rules& rules, const List& list) {
  std::vector<std::string> all;
  for (const Decision& each : apply_retention(rules, list, {}, RemovalLimit::Save).of)
    all.push_back(each.why);
  return all;
}

List staying(const List& list, const RetentionResult& judgement) {
  List left;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (judgement.of[i].retained == Retained::Listed) left.push_back(list[i]);
  }
  return left;
}

// A directory into which checkpoints are saved one after the other.
struct Directory {
  explicit Directory(const Retention& rule) : rules{rule}, grid(first_grid(rules, 0)) {}

  void save(CheckpointFacts known) {
    listed.push_back(std::move(known));
    judge_now(RemovalLimit::Save);
  }

  void judge_now(RemovalLimit pace) {
    const RetentionResult judgement = apply_retention(rules, listed, grid, pace);
    for (std::size_t i = 0; i < listed.size(); ++i) {
      if (judgement.of[i].retained == Retained::Preserved) preserved.push_back(listed[i].saved_s);
    }
    listed = staying(listed, judgement);
    grid = judgement.grid;
  }

  std::vector<double> times() const {
    std::vector<double> all;
    for (const CheckpointFacts& known : listed) all.push_back(known.saved_s);
    return all;
  }

  Rules rules;
  KeepState grid;
  List listed;
  std::vector<double> preserved;
};

Directory every_quarter(const Retention& rule) {
  Directory directory(rule);
  for (int step = 0; step < 14; ++step) directory.save(at((step + 1) * kQuarter));
  return directory;
}

using Times = std::vector<double>;

// ---- TensorFlow's Saver

TEST_CASE("the Saver preserves what lies strictly beyond its grid, as TensorFlow's was measured") {
  const Directory directory = every_quarter(Retention::tensorflow_saver(2, 1));
  CHECK(directory.preserved == Times{5 * kQuarter, 9 * kQuarter});  // steps 4 and 8
  CHECK(directory.times() == Times{13 * kQuarter, 14 * kQuarter});  // 12 and 13
  CHECK(directory.grid == KeepState{.next_keep_s = 3 * kHour});
}

TEST_CASE("after a pause the Saver preserves neighbours until its grid has caught up") {
  Directory directory(Retention::tensorflow_saver(2, 1));
  for (int step = 0; step < 10; ++step) directory.save(at(5 * kHour + (step + 1) * 60));
  CHECK(directory.preserved == Times{18060, 18120, 18180, 18240, 18300});
  CHECK(directory.grid.next_keep_s == 6 * kHour);
}

TEST_CASE(
    "the Saver lets one go at each save, and all that are too many when it is asked to prune") {
  const List list = saved_at({1, 2, 3, 4, 5});
  const Rules rules = {Retention::tensorflow_saver(2)};
  CHECK(fates(apply_retention(rules, list, {}, RemovalLimit::Save)) == "DLLLL");
  CHECK(fates(apply_retention(rules, list, {}, RemovalLimit::Prune)) == "DDDLL");
  CHECK(whys(rules, list)[1] == "older than the newest 2, but each save removes one at most");
}

TEST_CASE("the Saver counts its hours as TensorFlow's buffer of 32 bits does") {
  const Rules rules = {Retention::tensorflow_saver(1, 0.1)};
  const double interval_s = double{0.1F} * kHour;
  CHECK(interval_s != 0.1 * kHour);
  CHECK(first_grid(rules, 0).next_keep_s == interval_s);
  const RetentionResult judgement =
      apply_retention(rules, saved_at({1, 2}), {}, RemovalLimit::Save);
  CHECK(fates(judgement) == "PL");
  CHECK(judgement.grid.next_keep_s == interval_s);
}

// ---- TensorFlow's Manager

TEST_CASE("the Manager preserves what is far enough from the last, as TensorFlow's was measured") {
  const Directory directory = every_quarter(Retention::tensorflow_manager(2, 1));
  CHECK(directory.preserved == Times{1 * kHour, 2 * kHour, 3 * kHour});
  CHECK(directory.times() == Times{13 * kQuarter, 14 * kQuarter});
  CHECK(directory.grid == KeepState{.last_preserved_s = 3 * kHour});
}

TEST_CASE("the Manager's grid starts a second before its clock, and our own rules have none") {
  CHECK(first_grid(Rules{Retention::tensorflow_manager(1, 1)}, 60) ==
        KeepState{.last_preserved_s = 59});
  CHECK(first_grid(Rules{Retention::every_hours(1)}, 60) == KeepState{});
  CHECK(first_grid({}, 60) == KeepState{});
}

TEST_CASE("after a pause the Manager preserves one") {
  Directory directory(Retention::tensorflow_manager(2, 1));
  for (int step = 0; step < 10; ++step) directory.save(at(5 * kHour + (step + 1) * 60));
  CHECK(directory.preserved == Times{18060});
}

TEST_CASE("the Manager lets go of all that are too many at once") {
  const Rules rules = {Retention::tensorflow_manager(2, 1)};
  const List list = saved_at({0.5, 1, 1.5, 2.5, 3, 3.5});
  for (const RemovalLimit pace : {RemovalLimit::Save, RemovalLimit::Prune}) {
    const RetentionResult judgement = apply_retention(rules, list, {}, pace);
    CHECK(fates(judgement) == "DPDPLL");
    CHECK(judgement.grid == KeepState{.last_preserved_s = 2.5 * kHour});
  }
}

// ---- Both of TensorFlow's

TEST_CASE("at the very point of the grid the Manager preserves and the Saver does not") {
  const List list = saved_at({2, 3});
  const KeepState grid{.next_keep_s = 2 * kHour, .last_preserved_s = 1 * kHour};
  CHECK(fates(apply_retention(Rules{Retention::tensorflow_saver(1, 1)}, list, grid,
                              RemovalLimit::Save)) == "DL");
  CHECK(fates(apply_retention(Rules{Retention::tensorflow_manager(1, 1)}, list, grid,
                              RemovalLimit::Save)) == "PL");
}

TEST_CASE("without hours nothing is preserved, and with max_to_keep 0 everything is listed") {
  for (const auto make : {Retention::tensorflow_saver, Retention::tensorflow_manager}) {
    CHECK(fates({make(1, 0)}, saved_at({1, 2})) == "DL");
    CHECK(fates({make(0, 1)}, saved_at({1, 2, 3})) == "LLL");
    CHECK(whys({make(0, 1)}, saved_at({1})) == std::vector<std::string>{"everything stays"});
  }
}

TEST_CASE("a pin saves what TensorFlow's rule would delete, and changes nothing for the others") {
  for (const auto make : {Retention::tensorflow_saver, Retention::tensorflow_manager}) {
    const Rules rules = {make(1, 1)};
    List list = saved_at({0.25, 0.5, 2, 2.25, 3});
    const KeepState grid{.next_keep_s = 1.5 * kHour};
    const RetentionResult before = apply_retention(rules, list, grid, RemovalLimit::Prune);
    CHECK(fates(before) == "DDPDL");
    list[1].pinned = list[2].pinned = true;
    const RetentionResult after = apply_retention(rules, list, grid, RemovalLimit::Prune);
    CHECK(fates(after) == "DPPDL");
    CHECK(after.of[1].why == "pinned");
    CHECK(after.of[2].why == "one every 1 h");
    CHECK(after.grid == before.grid);
  }
}

TEST_CASE("TensorFlow's rules say why") {
  using Whys = std::vector<std::string>;
  CHECK(whys({Retention::tensorflow_manager(1)}, saved_at({1, 2})) ==
        Whys{"older than the newest 1", "one of the newest 1"});
  CHECK(whys({Retention::tensorflow_manager(1, 0.5)}, saved_at({0.25, 1, 2})) ==
        Whys{"older than the newest 1, and too early to be one every 0.5 h", "one every 0.5 h",
             "one of the newest 1"});
}

// ---- Ours

TEST_CASE("the newest stay") {
  CHECK(fates({Retention::newest(2)}, saved_at({1, 2, 3, 4})) == "DDLL");
  CHECK(fates({Retention::newest(4)}, saved_at({1, 2, 3, 4})) == "LLLL");
  CHECK(fates({Retention::newest(9)}, saved_at({1, 2})) == "LL");
  CHECK(fates({Retention::newest(2)}, {}).empty());
}

TEST_CASE("steps that are multiples stay, negative ones too, and those without a step do not") {
  const std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
  const List list = of_steps({0, 1, 999, 1000, {}, -2000, -1, lowest, 1});
  CHECK(fates({Retention::every_steps(1000)}, list) == "LDDLDLDDL");
  CHECK(fates({Retention::every_steps(1)}, list) == "LLLLDLLLL");
  CHECK(fates({Retention::every_steps(std::uint64_t{1} << 63)}, list) == "LDDDDDDLL");
}

TEST_CASE("the first stays, then each that is the given hours younger than the last that did") {
  const Rules rules = {Retention::every_hours(1)};
  CHECK(fates(rules, saved_at({0.5, 1, 1.25, 1.5, 2.25, 2.75, 9, 9.5, 9.75})) == "LDDLDLLDL");
  CHECK(fates(rules, saved_at({5, 1, 2, 6, 6.5})) == "LDDLL");  // the clock went back
  CHECK(fates({Retention::every_hours(0)}, saved_at({1, 1, 2})) == "LLL");
  CHECK(fates({Retention::every_hours(kInfinity)}, saved_at({1, 8, 9})) == "LDL");
}

TEST_CASE("a time that is not a number deletes nothing") {
  CHECK(fates({Retention::every_hours(1)}, saved_at({kNaN, 1, 1.1, kNaN, 2, 9})) == "LLDLLL");
}

TEST_CASE("the best stay: of equals the newer, what has no number never") {
  const auto best = [](Retention::Order order, std::uint64_t count) {
    return Rules{Retention::best_by("loss", order, count)};
  };
  using enum Retention::Order;
  const List list = of_losses({0.3, kNaN, 0.1, 0.2, 0.1, 0.4, -kNaN});
  CHECK(fates(best(Lowest, 1), list) == "DDDDLDL");
  CHECK(fates(best(Lowest, 2), list) == "DDLDLDL");
  CHECK(fates(best(Lowest, 9), list) == "LDLLLLL");
  CHECK(fates(best(Highest, 2), list) == "LDDDDLL");
  CHECK(fates(best(Lowest, 1), of_losses({-kInfinity, -1, 0})) == "LDL");
  CHECK(fates(best(Highest, 1), of_losses({kInfinity, -1, 0})) == "LDL");
  CHECK(fates(best(Lowest, 1), of_losses({0.0, -0.0, 1})) == "DLL");
  CHECK(fates({Retention::best_by("accuracy", Highest, 3)}, list) == "DDDDDDL");
}

TEST_CASE("a pinned checkpoint stays listed, and so does the latest, whatever the rules say") {
  List list = of_steps({1, 2, 3, 4});
  list[1].pinned = true;
  CHECK(fates({Retention::every_steps(10)}, list) == "DLDL");
  CHECK(fates({Retention::newest(0), Retention::every_steps(10)}, list) == "DLDL");
}

TEST_CASE("without rules everything stays") {
  CHECK(fates({}, saved_at({1, 2, 3})) == "LLL");
  CHECK(whys({}, saved_at({1, 2})) ==
        std::vector<std::string>{"everything stays", "the latest; everything stays"});
}

TEST_CASE("each rule says why a checkpoint stays, or why it does not") {
  const Rules rules = {Retention::newest(2), Retention::every_steps(1000),
                       Retention::every_hours(2.5),
                       Retention::best_by("loss", Retention::Order::Lowest, 2)};
  const List list = {
      {.saved_s = 1 * kHour, .step = 1000, .metrics = {{"loss", 0.31}}},
      {.saved_s = 2 * kHour, .step = 1500, .metrics = {{"loss", 0.75}}},
      {.saved_s = 3 * kHour, .metrics = {{"loss", kNaN}}, .pinned = true},
      {.saved_s = 3.25 * kHour},
      {.saved_s = 3.5 * kHour, .step = 2500, .metrics = {{"accuracy", 1}, {"loss", 0.5}}},
      {.saved_s = 4 * kHour, .step = 3000, .metrics = {{"loss", 0.9}}}};
  const char* const expected[] = {
      ("step 1000 is a multiple of 1000; one every 2.5 h; best 2 by loss: 0.31"),
      ("older than the newest 2; step 1500 is not a multiple of 1000; too early to be one every "
       "2.5 h; not among the best 2 by loss: 0.75"),
      ("pinned"),
      ("older than the newest 2; without a step; too early to be one every 2.5 h; without a value "
       "of loss"),
      ("one of the newest 2; one every 2.5 h; best 2 by loss: 0.5"),
      ("the latest; one of the newest 2; step 3000 is a multiple of 1000")};
  const std::vector<std::string> said = whys(rules, list);
  REQUIRE(said.size() == std::size(expected));
  for (std::size_t i = 0; i < said.size(); ++i) CHECK(said[i] == expected[i]);
}

// ---- Whether rules make sense

TEST_CASE("rules that contradict themselves or each other are refused in a sentence") {
  struct Case {
    Rules rules;
    const char* why;
  };
  using enum Retention::Order;
  const Case cases[] = {
      {{Retention::tensorflow_saver(5), Retention::newest(5)}, "must be the only rule"},
      {{Retention::newest(5), Retention::tensorflow_manager(5)}, "must be the only rule"},
      {{Retention::tensorflow_saver(5), Retention::tensorflow_saver(5)}, "there are 2 rules"},
      {{Retention::newest(0)}, "keep no checkpoint"},
      {{Retention::newest(0), Retention::best_by("loss", Lowest, 0)}, "keep no checkpoint"},
      {{Retention::every_steps(0)}, "every 0 steps"},
      {{Retention::newest(5), Retention::every_steps(0)}, "every 0 steps"},
      {{Retention::every_hours(-1)}, "every -1 hours"},
      {{Retention::every_hours(kNaN)}, "every nan hours"},
      {{Retention::tensorflow_saver(5, -0.5)}, "every -0.5 hours"},
      {{Retention::tensorflow_manager(5, -kInfinity)}, "every -inf hours"},
      {{Retention::best_by("", Lowest, 1)}, "a metric without a name"},
  };
  for (const Case& each : cases) {
    INFO(each.why);
    const auto checked = check_rules(each.rules);
    REQUIRE(!checked);
    CHECK(checked.error().code == Code::Invalid);
    CHECK_MESSAGE(checked.error().what.find(each.why) != std::string::npos, checked.error().what);
  }
}

TEST_CASE("rules that make sense together pass") {
  using enum Retention::Order;
  const Rules good[] = {
      {},
      {Retention::tensorflow_saver(0)},
      {Retention::tensorflow_manager(5, 10000)},
      {Retention::newest(1)},
      {Retention::newest(0), Retention::every_steps(1000)},
      {Retention::newest(0), Retention::best_by("loss", Lowest, 1)},
      {Retention::every_hours(0)},
      {Retention::newest(5), Retention::newest(7), Retention::every_steps(1),
       Retention::every_hours(kInfinity), Retention::best_by("loss", Lowest, 1),
       Retention::best_by("loss", Highest, 1)},
  };
  for (const Rules& rules : good) CHECK(check_rules(rules));
}

// ---- For all lists

class Random {
 public:
  Random() : seed_(std::random_device()()), engine_(seed_) { MESSAGE("seed ", seed_); }

  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }

  CheckpointFacts known(double saved_s) {
    CheckpointFacts known = at(saved_s);
    if (below(8) != 0) known.step = static_cast<std::int64_t>(below(12)) - 2;
    if (below(4) != 0) known.metrics.push_back({"loss", static_cast<double>(below(6))});
    if (below(16) == 0) known.metrics = {{"loss", kNaN}};
    known.pinned = below(10) == 0;
    return known;
  }

  // Mostly ascending times; now and then the clock is set back.
  List list() {
    List list;
    double now_s = 0;
    for (std::uint64_t left = below(20); left > 0; --left) {
      now_s += static_cast<double>(below(10) == 0 ? 0 : below(6)) * kQuarter;
      if (below(20) == 0) now_s -= kHour;
      list.push_back(known(now_s));
    }
    return list;
  }

  Retention own_rule() {
    switch (below(4)) {
      case 0:
        return Retention::newest(below(5));
      case 1:
        return Retention::every_steps(1 + below(4));
      case 2:
        return Retention::every_hours(static_cast<double>(below(8)) / 4);
      default:
        return Retention::best_by("loss", Retention::Order{static_cast<std::uint8_t>(below(2))},
                                  below(4));
    }
  }

  Rules own_rules() {
    Rules rules;
    for (std::uint64_t left = below(4); left > 0; --left) rules.push_back(own_rule());
    return rules;
  }

  Retention tensorflow_rule() {
    const auto make = below(2) == 0 ? Retention::tensorflow_saver : Retention::tensorflow_manager;
    return make(below(5), static_cast<double>(below(6)) / 4);
  }

 private:
  std::uint64_t seed_;
  std::mt19937_64 engine_;
};

constexpr int kRounds = 3000;

TEST_CASE("a checkpoint stays just when one of our rules alone keeps it") {
  Random random;
  for (int round = 0; round < kRounds; ++round) {
    const Rules rules = random.own_rules();
    const List list = random.list();
    const std::string together = fates(rules, list);
    std::string alone = rules.empty() ? std::string(list.size(), 'L') : std::string();
    for (const Retention& rule : rules) {
      const std::string one = fates({rule}, list);
      if (alone.empty()) alone = one;
      for (std::size_t i = 0; i < one.size(); ++i) alone[i] = std::max(alone[i], one[i]);
    }
    REQUIRE(together == alone);  // 'L' is greater than 'D'
  }
}

TEST_CASE("what one judgement of our rules leaves, the next one leaves too") {
  Random random;
  for (int round = 0; round < kRounds; ++round) {
    const Rules rules = random.own_rules();
    const List list = random.list();
    const List left = staying(list, apply_retention(rules, list, {}, RemovalLimit::Save));
    REQUIRE(fates(rules, left) == std::string(left.size(), 'L'));
  }
}

TEST_CASE("to judge at each save leaves what to judge once at the end leaves") {
  Random random;
  for (int round = 0; round < kRounds; ++round) {
    const Rules rules = random.own_rules();
    const List list = random.list();
    List left;
    for (const CheckpointFacts& known : list) {
      left.push_back(known);
      left = staying(left, apply_retention(rules, left, {}, RemovalLimit::Save));
    }
    const List at_once = staying(list, apply_retention(rules, list, {}, RemovalLimit::Prune));
    const auto same = [](const CheckpointFacts& a, const CheckpointFacts& b) {
      return a.saved_s == b.saved_s && a.step == b.step && a.pinned == b.pinned;
    };
    REQUIRE(std::equal(left.begin(), left.end(), at_once.begin(), at_once.end(), same));
  }
}

bool is_spared_and_reasoned(const CheckpointFacts& known, const Decision& judged) {
  return !judged.why.empty() && !(known.pinned && judged.retained == Retained::Deleted);
}

void check_spared_and_reasoned(const List& list, const RetentionResult& judgement) {
  CHECK(std::equal(list.begin(), list.end(), judgement.of.begin(), judgement.of.end(),
                   is_spared_and_reasoned));
  const bool latest_stays = list.empty() || judgement.of.back().retained == Retained::Listed;
  CHECK(latest_stays);
}

TEST_CASE("the latest and the pinned are never deleted, and everything has a reason") {
  Random random;
  for (int round = 0; round < kRounds; ++round) {
    const Rules rules = round % 2 == 0 ? random.own_rules() : Rules{random.tensorflow_rule()};
    const List list = random.list();
    check_spared_and_reasoned(list, apply_retention(rules, list, {}, RemovalLimit::Save));
    check_spared_and_reasoned(list, apply_retention(rules, list, {}, RemovalLimit::Prune));
  }
}

TEST_CASE("TensorFlow's rules take from the oldest end, as many as they may") {
  Random random;
  for (int round = 0; round < kRounds; ++round) {
    const Retention rule = random.tensorflow_rule();
    const List list = random.list();
    const std::size_t excess =
        rule.count == 0 || list.size() <= rule.count ? 0 : list.size() - rule.count;
    const bool is_saver = rule.rule == Retention::Rule::TensorFlowSaver;
    for (const RemovalLimit pace : {RemovalLimit::Save, RemovalLimit::Prune}) {
      const std::string letters = fates(apply_retention(Rules{rule}, list, {}, pace));
      const std::size_t leaving =
          is_saver && pace == RemovalLimit::Save ? std::min<std::size_t>(excess, 1) : excess;
      REQUIRE(std::min(letters.find('L'), letters.size()) == leaving);
      REQUIRE(letters.find_first_not_of('L', leaving) == std::string::npos);
    }
  }
}

TEST_CASE("a pin changes the retained of no other checkpoint under TensorFlow's rules") {
  Random random;
  for (int round = 0; round < kRounds; ++round) {
    const Rules rules = {random.tensorflow_rule()};
    const List pinned = random.list();
    List bare = pinned;
    for (CheckpointFacts& known : bare) known.pinned = false;
    const RetentionResult with = apply_retention(rules, pinned, {}, RemovalLimit::Prune);
    const RetentionResult without = apply_retention(rules, bare, {}, RemovalLimit::Prune);
    REQUIRE(with.grid == without.grid);
    for (std::size_t i = 0; i < pinned.size(); ++i)
      if (!pinned[i].pinned) REQUIRE(with.of[i].retained == without.of[i].retained);
  }
}

}  // namespace
}  // namespace cairn::internal
