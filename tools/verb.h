#pragma once

// What the verbs share with main: their signatures, the exit codes, and the options of many.

#include <optional>
#include <string>

#include "cairn/checkpoint.h"
#include "command_line.h"

namespace cairn::tools {

// The contract with shell scripts.
enum Exit : int {
  kYes = 0,     // all is well
  kNo = 1,      // the honest answer is no: damage found, no latest checkpoint
  kFailed = 2,  // the work could not be done: usage, unreadable, refused
};

int ls(Arguments arguments);
int info(Arguments arguments);
int stat(Arguments arguments);
int tree(Arguments arguments);
int cat(Arguments arguments);
int diff(Arguments arguments);
int verify(Arguments arguments);
int salvage_verb(Arguments arguments);
int import_verb(Arguments arguments);
int export_verb(Arguments arguments);
int convert_verb(Arguments arguments);
int copy_verb(Arguments arguments);
int move_verb(Arguments arguments);
int remove_verb(Arguments arguments);
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
int completion(Arguments arguments);

// Options that mean the same in every verb that has them.
void add_path(CommandLine& line, std::string& path);
void add_directory(CommandLine& line, std::string& dir);
void add_catalog(CommandLine& line, std::string& name);
void add_json(CommandLine& line, bool& json);
void add_threads(CommandLine& line, unsigned& threads);
void add_follow_links(CommandLine& line, bool& follow_links);
void add_formats(CommandLine& line, FormatOptions& formats);

// The checkpoint at `path`, whose warnings are printed; nothing: why not was said.
std::optional<Checkpoint> open_or_complain(const std::string& path, bool follow_links,
                                           const FormatOptions& formats = {});

}  // namespace cairn::tools
