// Replays histories of saves under TensorFlow's two retention algorithms and says how the directory
// looks, so that test_retention.py can compare with what TensorFlow leaves.
//
// usage: retention_driver SCRATCH     an empty directory for what is saved; little is there at once
//
// stdin, a word and its arguments a line:
//   history                        in a directory in which there is nothing yet
//   open saver|manager N HOURS T   a Saver of that rule begins there at time T; the one before it,
//                                  if there was one, is gone
//   save STEP T
//   prune
//   tell
// stdout, for each `tell`: what the catalog lists, whose files are there, the grid (where there is
// one, to the bit), and the catalog's text.

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "cairn/saver.h"
#include "lib/saver/history.h"

namespace {

using cairn::Retention;
namespace fs = std::filesystem;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "retention_driver: %s\n", why.c_str());
  std::exit(2);
}

template <class T>
T must(cairn::Result<T> result) {
  if (!result) give_up(result.error().what);
  return *std::move(result);
}

// A directory and who saves into it, with a clock that is set.
class Subject {
 public:
  explicit Subject(fs::path dir) : dir_(std::move(dir)) {}
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;
  ~Subject() { fs::remove_all(dir_); }

  void open(const Retention& rule, double now_s) {
    rule_ = rule;
    now_s_ = now_s;
    cairn::SaverOptions options;
    options.keep_any_of = {rule};
    options.exec.threads_max = 1;
    options.clock = [this] { return now_s_; };
    saver_.emplace(must(cairn::Saver::open(dir_, options)));
  }

  void save(std::int64_t step, double now_s) {
    now_s_ = now_s;
    const std::array<std::byte, 1> bytes{};
    const cairn::NamedTensor tensor{{"v", cairn::DType::Uint8, {1}}, bytes, {}};
    cairn::SaveOptions options;
    options.step = step;
    const cairn::Saved saved = must(saver_->save("m", {&tensor, 1}, options));
    if (!saved.warnings.empty()) give_up(saved.warnings.front());
  }

  void prune() { must(saver_->prune(false)); }

  void tell() const {
    std::printf("told\nlisted");
    for (const fs::path& path : must(saver_->last_checkpoints()))
      std::printf(" %s", path.filename().c_str());
    std::printf("\nfiles");
    for (const std::string& name : files()) std::printf(" %s", name.c_str());
    // As Python's float.hex() spells it.
    if (const auto grid_s = this->grid_s()) std::printf("\ngrid %.13a", *grid_s);
    std::ifstream catalog(dir_ / "checkpoint");
    for (std::string line; std::getline(catalog, line);) std::printf("\n| %s", line.c_str());
    std::printf("\n");
  }

 private:
  // The prefixes under which there are files; whatever else is there, as it is.
  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(dir_)) {
      const std::string name = entry.path().filename().string();
      if (name == "checkpoint" || name == ".cairn-lock") continue;
      names.insert(name.starts_with("m-") ? name.substr(0, name.find('.')) : name);
    }
    return names;
  }

  // A Saver without hours has none.
  std::optional<double> grid_s() const {
    const auto directory = must(cairn::os::Directory::open(dir_));
    const auto history = must(cairn::internal::read_history({dir_, directory, "checkpoint"}));
    if (rule_.rule == Retention::Rule::TensorFlowManager) return history.last_preserved_s;
    return history.grid ? std::optional(history.grid->next_keep_s) : std::nullopt;
  }

  fs::path dir_;
  Retention rule_;
  double now_s_ = 0;
  std::optional<cairn::Saver> saver_;
};

Retention rule_named(std::string_view algorithm, std::uint64_t count, double hours) {
  if (algorithm == "saver") return Retention::tensorflow_saver(count, hours);
  if (algorithm == "manager") return Retention::tensorflow_manager(count, hours);
  give_up("no algorithm is called " + std::string(algorithm));
}

void obey(Subject& subject, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  std::string algorithm;
  std::uint64_t count = 0;
  std::int64_t step = 0;
  double hours = 0;
  double now_s = 0;
  words >> verb;
  if (verb == "open" && words >> algorithm >> count >> hours >> now_s) {
    subject.open(rule_named(algorithm, count, hours), now_s);
  } else if (verb == "save" && words >> step >> now_s) {
    subject.save(step, now_s);
  } else if (verb == "prune") {
    subject.prune();
  } else if (verb == "tell") {
    subject.tell();
  } else {
    give_up("cannot make sense of \"" + line + "\"");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) give_up("give the scratch directory");
  const fs::path scratch = argv[1];
  std::optional<Subject> subject;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "history") {
      subject.emplace(scratch / "history");
    } else if (subject) {
      obey(*subject, line);
    }
  }
}
