#pragma once

// What a verb takes, and how it is read. CLI11 does it, behind this: a compiler spends four seconds
// on each file that sees CLI11, and command_line.cc alone does.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace cairn::tools {

using Arguments = std::span<char* const>;  // what follows the verb

// What an argument must also be. Each returns the argument, to go on with.
class Argument {
 public:
  // Why a word will not do; empty: it does.
  using Check = std::function<std::string(const std::string& word)>;

  explicit Argument(CLI::Option* option) noexcept : option_(option) {}

  Argument required();
  Argument check(const Check& why_not);
  Argument between(unsigned lowest, unsigned highest);
  Argument between(double lowest, double highest);
  Argument one_word();  // of a list: what follows the first word is another argument
  Argument excludes(Argument other);
  Argument needs(Argument other);

 private:
  CLI::Option* option_;
};

class CommandLine {
 public:
  CommandLine(const char* name, const char* description, const char* footer);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // An argument of which `value` becomes what is given: "--option", or "WORD" by its place. Help
  // calls what is given `type`, and says `what` it is. T is one of those at the end of
  // command_line.cc.
  template <class T>
  Argument add(const char* name, T& value, const char* type, const char* what);

  // An argument by its place, whose name says what is given.
  template <class T>
  Argument add(const char* name, T& value, const char* what) {
    return add(name, value, "", what);
  }

  Argument add_flag(const char* name, bool& given, const char* what);

  // Calls `take` with what is given.
  template <class T>
  Argument add_call(const char* name, std::function<void(const T&)> take, const char* type,
                    const char* what);

  // May be given again; calls `take` for each.
  Argument add_each(const char* name, std::function<void(const std::string&)> take,
                    const char* type, const char* what);

  // One of a few words. CLI11's own transformer answers another word with the numbers behind the
  // words, as raw bytes.
  template <class T>
  Argument add_choice(const char* name, T& chosen, const std::map<std::string, T>& choices,
                      const char* type, const char* what) {
    std::string known;
    for (const auto& [word, value] : choices) known += (known.empty() ? "" : ", ") + word;
    const auto take = [&chosen, choices](const std::string& word) { chosen = choices.at(word); };
    return add_call<std::string>(name, take, type, what).check([choices, known](const auto& word) {
      return choices.contains(word) ? "" : "'" + word + "' is not one of " + known;
    });
  }

  // Fills what was added. Something: exit with it (the help was printed, or a complaint).
  std::optional<int> parse(Arguments arguments);

 private:
  std::unique_ptr<CLI::App> app_;
};

}  // namespace cairn::tools
