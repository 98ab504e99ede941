#include "explore.h"

#include <algorithm>
#include <functional>
#include <random>
#include <set>

#include "lib/try.h"

namespace cairn::crash {
namespace {

using Points = std::vector<Disk::Point>;
using Choice = Disk::Choice;

// At most this many breaches are told of one recording.
constexpr std::size_t kBreachesMax = 5;

// What may be seen at one moment: between two calls what the last one promised; during a call that
// or what it will promise.
struct Promise {
  const World* before = nullptr;
  const World* after = nullptr;
  std::string during;

  bool operator==(const Promise& other) const {
    return before == other.before && after == other.after;
  }
};

Promise promise_at(const Recording& recording, std::size_t moment) {
  const World* world = &recording.before;
  std::size_t begin = 0;
  std::string last = "before everything";
  for (const Step& step : recording.steps) {
    if (moment == begin && moment < step.end) return {world, world, last};
    if (moment < step.end) return {world, &step.after, "during " + step.name};
    if (!step.acknowledged) return {world, &step.after, "after " + step.name + " failed"};
    world = &step.after;
    begin = step.end;
    last = "after " + step.name;
  }
  return {world, world, last};
}

// How many choices there are, at most `most` + 1.
std::size_t count_of(const Points& points, std::size_t most) {
  std::size_t count = 1;
  for (const Disk::Point& point : points) {
    count *= point.alternatives;
    if (count > most) return most + 1;
  }
  return count;
}

Choice all_done(const Points& points) {
  Choice choice;
  for (const Disk::Point& point : points) choice.push_back(point.done);
  return choice;
}

// The corners: nothing and everything, each with one exception, and everything up to some moment.
void corners(const Points& points, const std::function<void(const Choice&)>& visit) {
  const Choice none(points.size(), 0);
  const Choice all = all_done(points);
  visit(none);
  visit(all);
  Choice prefix = none;
  for (std::size_t i = 0; i < points.size(); ++i) {
    prefix[i] = all[i];
    visit(prefix);
    for (unsigned alternative = 0; alternative < points[i].alternatives; ++alternative) {
      Choice choice = all;
      choice[i] = alternative;
      visit(choice);
      choice = none;
      choice[i] = alternative;
      visit(choice);
    }
  }
}

Choice random_choice(const Points& points, std::mt19937_64& random) {
  // Now nearly everything is there, now nearly nothing.
  std::bernoulli_distribution is_done(std::uniform_real_distribution(0.05, 0.95)(random));
  Choice choice;
  for (const Disk::Point& point : points) {
    choice.push_back(is_done(random) ? point.done
                                     : static_cast<unsigned>(random() % point.alternatives));
  }
  return choice;
}

// One run through a recording.
class Exploration {
 public:
  Exploration(const Recording& recording, const Effort& effort, After what)
      : recording_(recording), effort_(effort), what_(what), random_(effort.seed) {}

  // Whether to go on.
  bool look(std::size_t moment, const Image& image) {
    ++findings_.states;
    const Promise promise = promise_at(recording_, moment);
    if (promise != promise_) seen_.clear();
    promise_ = promise;
    if (!seen_.insert(key_of(image)).second) return true;
    if (auto found = breach(image, *promise.before, *promise.after)) tell(moment, *found);
    if (effort_.next_save_every != 0 && findings_.opened % effort_.next_save_every == 0) {
      ++findings_.next_saves;
      if (auto found = breach_of_next_save(image, *promise.after, what_)) tell(moment, *found);
    }
    ++findings_.opened;
    return !finished();
  }

  void look_at_all(std::size_t moment, const Disk& disk) {
    const Points points = disk.points();
    const auto visit = [&](const Choice& choice) {
      if (!finished()) look(moment, disk.left(points, choice));
    };
    ++findings_.moments;
    if (count_of(points, effort_.states_per_moment) <= effort_.states_per_moment)
      return each_choice(points, visit);
    ++findings_.sampled_moments;
    const std::size_t before = findings_.states;
    corners(points, visit);
    while (findings_.states - before < effort_.states_per_moment && !finished())
      visit(random_choice(points, random_));
  }

  bool finished() const noexcept {
    return findings_.breaches.size() >= (effort_.stop_at_first ? 1 : kBreachesMax);
  }
  Findings& findings() noexcept { return findings_; }

 private:
  void tell(std::size_t moment, const std::string& found) {
    const auto& operations = recording_.operations;
    findings_.breaches.push_back(promise_.during + ", after operation " + std::to_string(moment) +
                                 (moment == 0 ? "" : " (" + operations[moment - 1].what + ")") +
                                 ": " + found);
  }

  const Recording& recording_;
  const Effort effort_;
  const After what_;
  std::mt19937_64 random_;
  Promise promise_;
  std::set<std::string> seen_;
  Findings findings_;
};

}  // namespace

Findings cut_power(const Recording& recording, const Effort& effort) {
  Exploration exploration(recording, effort, After::PowerCut);
  Disk disk(recording.start);
  for (std::size_t moment = 0; !exploration.finished(); ++moment) {
    if (exploration.findings().moments == effort.moments_max) break;
    if (moment >= effort.first_moment) exploration.look_at_all(moment, disk);
    if (moment == recording.operations.size()) break;
    disk.take(recording.operations[moment]);
  }
  return exploration.findings();
}

Findings kill(const Recording& recording, Effort effort) {
  effort.next_save_every = 1;
  Exploration exploration(recording, effort, After::Kill);
  Image image = recording.start;
  for (std::size_t moment = 0; exploration.findings().moments < effort.moments_max; ++moment) {
    const bool is_new = moment >= effort.first_moment;
    exploration.findings().moments += is_new;
    if (is_new && !exploration.look(moment, image)) break;
    if (moment == recording.operations.size()) break;
    apply(image, recording.operations[moment]);
  }
  return exploration.findings();
}

std::vector<Mutant> without_each_sync(const Recording& recording) {
  std::vector<Mutant> mutants;
  const auto& operations = recording.operations;
  for (std::size_t step = 0, i = 0; i < operations.size(); ++i) {
    while (recording.steps[step].end <= i) ++step;
    if (operations[i].kind != Operation::Kind::Sync) continue;
    std::string what =
        std::to_string(step + 1) + ", " + recording.steps[step].name + ": " + operations[i].what;
    if (i > 0) what += " after " + operations[i - 1].what;
    if (std::ranges::count(mutants, what, &Mutant::what) != 0) what += ", again";
    Mutant mutant{std::move(what), recording, i};
    auto& rest = mutant.recording.operations;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
    for (Step& later : mutant.recording.steps) later.end -= later.end > i ? 1 : 0;
    mutants.push_back(std::move(mutant));
  }
  return mutants;
}

Mutant without_syncs(Recording recording) {
  for (Operation& operation : recording.operations) {
    if (operation.kind == Operation::Kind::Sync) operation.kind = Operation::Kind::FailedSync;
  }
  return {"no sync at all", std::move(recording), 0};
}

Mutant exchanged(Recording recording, const std::string& late, const std::string& early) {
  auto& operations = recording.operations;
  const auto find = [&](const std::string& what) {
    return std::ranges::find_if(operations,
                                [&](const Operation& o) { return o.what.starts_with(what); });
  };
  const auto from = find(late);
  const auto to = find(early);
  const auto moment = static_cast<std::size_t>(to - operations.begin());
  const auto last = static_cast<std::size_t>(from - operations.begin());
  CAIRN_ASSERT(moment < last && last < operations.size());
  std::rotate(to, from, from + 1);
  for (Step& step : recording.steps) step.end += step.end > moment && step.end <= last ? 1 : 0;
  return {late + " before " + early, std::move(recording), moment};
}

}  // namespace cairn::crash
