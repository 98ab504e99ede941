#pragma once

// What the verbs share with main: their signatures, the exit codes, and how arguments are parsed.

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <span>
#include <string>

#include "cairn/checkpoint.h"

namespace cairn::tools {

// The contract with shell scripts.
enum Exit : int {
  kYes = 0,     // all is well
  kNo = 1,      // the honest answer is no: damage found, no latest checkpoint
  kFailed = 2,  // the work could not be done: usage, unreadable, refused
};

using Arguments = std::span<char* const>;  // what follows the verb

int ls(Arguments arguments);
int tree(Arguments arguments);
int cat(Arguments arguments);
int verify(Arguments arguments);
int salvage_verb(Arguments arguments);
int import_verb(Arguments arguments);
int export_verb(Arguments arguments);
int convert_verb(Arguments arguments);
int merge_verb(Arguments arguments);
int rename_verb(Arguments arguments);
int latest(Arguments arguments);
int state(Arguments arguments);
int set_latest(Arguments arguments);
int watch(Arguments arguments);
int save(Arguments arguments);
int prune(Arguments arguments);
int pin(Arguments arguments);
int demo(Arguments arguments);
int bench(Arguments arguments);

// Fills the options of `app`. Something: exit with it (the help was printed, or a complaint).
std::optional<int> parse(CLI::App& app, Arguments arguments);

// Options that mean the same in every verb that has them.
void add_path(CLI::App& app, std::string& path);
void add_directory(CLI::App& app, std::string& dir);
void add_json(CLI::App& app, bool& json);
void add_threads(CLI::App& app, unsigned& threads);

// The checkpoint at `path`, whose notices are printed; nothing: why not was said.
std::optional<Checkpoint> open_or_complain(const std::string& path);

// An option whose value is one of a few words. CLI11's own transformer answers another word with
// the numbers behind the words, as raw bytes.
template <class T>
CLI::Option* add_choice(CLI::App& app, const std::string& option, T& chosen,
                        const std::map<std::string, T>& choices) {
  return app.add_option_function<std::string>(
      option, [option, &chosen, choices](const std::string& word) {
        const auto found = choices.find(word);
        if (found != choices.end()) {
          chosen = found->second;
          return;
        }
        std::string known;
        for (const auto& [choice, value] : choices) known += (known.empty() ? "" : ", ") + choice;
        throw CLI::ValidationError(option, "'" + word + "' is none of " + known);
      });
}

}  // namespace cairn::tools
