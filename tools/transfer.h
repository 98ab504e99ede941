#pragma once

// What import, export, convert, merge, rename, cp and mv share: their options, and the report on
// what was done.

#include <string>

#include "cairn/convert.h"
#include "cairn/error.h"
#include "command_line.h"
#include "output.h"
#include "progress.h"

namespace cairn::tools {

// Why no files can be written under this prefix; empty: they can. "new/" would give hidden files.
std::string names_files(const std::string& prefix);

// The options of these verbs, as they are parsed.
struct TransferFlags {
  TransferOptions options;
  std::string output;
  bool json = false;
  unsigned threads = 0;
};

// SRC and DST, of verbs that write a checkpoint of another.
void add_source_and_output(CommandLine& line, std::string& source, TransferFlags& flags);
void add_output(CommandLine& line, TransferFlags& flags);
void add_link(CommandLine& line, TransferFlags& flags);
void add_lossy(CommandLine& line, TransferFlags& flags);
void add_replace_json_threads(CommandLine& line, TransferFlags& flags);

// What `call`, one of the library, makes of the options, under a progress bar.
template <class Call>
auto run(const std::string& doing, TransferFlags& flags, Call call) {
  ProgressBar bar(doing);
  flags.options.output = flags.output;
  flags.options.exec = bar.exec(flags.threads);
  return call(flags.options);
}

// What a transfer did, as text, and as fields of an object.
void print_text(const Transfer& transfer);
void add_fields(Json& json, const Transfer& transfer);

// Prints what a transfer did, or complains why it failed. Returns the exit code. `with_values`:
// names and values too, which only convert changes.
int report(const Result<Transfer>& transfer, bool json, bool with_values = false);

}  // namespace cairn::tools
