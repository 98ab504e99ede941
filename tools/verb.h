#pragma once

// What the verbs share with main: their signatures, the exit codes, and how arguments are parsed.

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>

#include "cairn/error.h"

namespace cairn::tools {

// The contract with shell scripts.
enum Exit : int {
  kYes = 0,     // all is well
  kNo = 1,      // the honest answer is no: damage found, no latest checkpoint
  kFailed = 2,  // the work could not be done: usage, unreadable, refused
};

using Arguments = std::span<char* const>;  // what follows the verb

int ls(Arguments arguments);
int cat(Arguments arguments);
int verify(Arguments arguments);
int import_verb(Arguments arguments);
int export_verb(Arguments arguments);
int convert_verb(Arguments arguments);
int latest(Arguments arguments);
int state(Arguments arguments);
int set_latest(Arguments arguments);
int demo(Arguments arguments);
int bench(Arguments arguments);

// Fills the options of `app`. Something: exit with it (the help was printed, or a complaint).
std::optional<int> parse(CLI::App& app, Arguments arguments);

// Options that mean the same in every verb that has them.
void add_path(CLI::App& app, std::string& path);
void add_json(CLI::App& app, bool& json);
void add_threads(CLI::App& app, unsigned& threads);

}  // namespace cairn::tools
