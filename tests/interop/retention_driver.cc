// Replays histories of saves under TensorFlow's two retention algorithms and says after each save
// how the directory looks, so that test_retention.py can compare with what TensorFlow leaves.
//
// stdin, a word and its arguments a line:
//   history                        a directory in which there is nothing yet
//   open saver|manager N HOURS T   a Saver of that rule begins there at time T; the one before it,
//                                  if there was one, is gone
//   save STEP T
// stdout, after each save: what was saved, what the catalog lists, whose files are there, the grid
// (where there is one, to the bit), and the catalog's text.
//
// With --wrong=LIE it keeps the rules wrongly, for the harness to prove that it notices:
//   later        takes each checkpoint for one ulp younger, so that > becomes >=
//   earlier      takes each for one ulp older, so that >= becomes >
//   all-at-once  lets all go that are too many, where one may go

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "format/tensorflow/state_text.h"
#include "lib/saver/retention.h"

namespace {

using cairn::Retention;
using cairn::saver::Fate;
using cairn::saver::Grid;
using cairn::saver::Known;

enum class Lie : std::uint8_t { None, Later, Earlier, AllAtOnce };

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A directory and who saves into it. The rest of this program knows it by its public functions.
class Subject {
 public:
  explicit Subject(Lie lie) : lie_(lie) {}

  void open(const Retention& rule, double now_s) {
    rule_ = rule;
    // The Manager's grid is in its catalog, the Saver's is nowhere.
    if (names_.empty() || !is_manager()) grid_ = cairn::saver::first_grid({&rule_, 1}, now_s);
  }

  void save(const std::string& name, double now_s) {
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (names_[i] == name) forget(i--);
    }
    names_.push_back(name);
    known_.push_back({.saved_s = now_s});
    files_.insert(name);
    sweep();
  }

  const std::vector<std::string>& listed() const { return names_; }
  const std::set<std::string>& files() const { return files_; }

  // A Saver without hours has none.
  std::optional<double> grid_s() const {
    if (is_manager()) return grid_.last_preserved_s;
    return rule_.hours > 0 ? std::optional(grid_.next_keep_s) : std::nullopt;
  }

  std::string catalog() const {
    cairn::format::tensorflow::StateFacts facts{names_.back(), names_, {}, 0};
    if (is_manager()) {
      for (const Known& known : known_)
        facts.all_model_checkpoint_timestamps.push_back(known.saved_s);
      facts.last_preserved_timestamp = grid_.last_preserved_s;
    }
    return cairn::format::tensorflow::encode_state(facts);
  }

 private:
  bool is_manager() const { return rule_.rule == Retention::Rule::TensorFlowManager; }

  void forget(std::size_t i) {
    names_.erase(names_.begin() + static_cast<std::ptrdiff_t>(i));
    known_.erase(known_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  void sweep() {
    const cairn::saver::Judgement judgement = judged();
    grid_ = judgement.grid;
    for (std::size_t i = names_.size(); i-- > 0;) {
      if (judgement.of[i].fate == Fate::Listed) continue;
      if (judgement.of[i].fate == Fate::Deleted) files_.erase(names_[i]);
      forget(i);
    }
  }

  cairn::saver::Judgement judged() const {
    using cairn::saver::Pace;
    std::vector<Known> believed = known_;
    for (Known& known : believed) {
      if (lie_ == Lie::Later) known.saved_s = std::nextafter(known.saved_s, kInfinity);
      if (lie_ == Lie::Earlier) known.saved_s = std::nextafter(known.saved_s, -kInfinity);
    }
    const Pace pace = lie_ == Lie::AllAtOnce ? Pace::Prune : Pace::Save;
    auto judgement = cairn::saver::judge({&rule_, 1}, believed, grid_, pace);
    // The lie is about the comparison, not about what the grid becomes.
    if (lie_ == Lie::Earlier && judgement.grid.last_preserved_s != grid_.last_preserved_s) {
      judgement.grid.last_preserved_s = std::nextafter(judgement.grid.last_preserved_s, kInfinity);
    }
    return judgement;
  }

  Lie lie_;
  Retention rule_;
  Grid grid_;
  std::vector<std::string> names_;  // of the catalog
  std::vector<Known> known_;        // parallel to names_
  std::set<std::string> files_;
};

void tell(const std::string& saved, const Subject& subject) {
  std::printf("save %s\nlisted", saved.c_str());
  for (const std::string& name : subject.listed()) std::printf(" %s", name.c_str());
  std::printf("\nfiles");
  for (const std::string& name : subject.files()) std::printf(" %s", name.c_str());
  // As Python's float.hex() spells it.
  if (const auto grid_s = subject.grid_s()) std::printf("\ngrid %.13a", *grid_s);
  std::istringstream catalog(subject.catalog());
  for (std::string line; std::getline(catalog, line);) std::printf("\n| %s", line.c_str());
  std::printf("\n");
}

[[noreturn]] void refuse(std::string_view what) {
  std::fprintf(stderr, "retention_driver: cannot make sense of \"%.*s\"\n",
               static_cast<int>(what.size()), what.data());
  std::exit(2);
}

void replay(std::istream& lines, Lie lie) {
  Subject subject(lie);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string verb;
    std::string first;
    std::uint64_t count = 0;
    double hours = 0;
    double now_s = 0;
    words >> verb;
    if (verb == "history") {
      subject = Subject(lie);
    } else if (verb == "open" && words >> first >> count >> hours >> now_s) {
      subject.open(first == "saver" ? Retention::tensorflow_saver(count, hours)
                                    : Retention::tensorflow_manager(count, hours),
                   now_s);
    } else if (verb == "save" && words >> first >> now_s) {
      subject.save("m-" + first, now_s);
      tell("m-" + first, subject);
    } else {
      refuse(line);
    }
  }
}

Lie lie_named(std::string_view argument) {
  if (argument == "--wrong=later") return Lie::Later;
  if (argument == "--wrong=earlier") return Lie::Earlier;
  if (argument == "--wrong=all-at-once") return Lie::AllAtOnce;
  refuse(argument);
}

}  // namespace

int main(int argc, char** argv) { replay(std::cin, argc > 1 ? lie_named(argv[1]) : Lie::None); }
