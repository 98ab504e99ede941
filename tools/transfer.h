#pragma once

// What import, export, convert, merge and rename share: their options, and the report on what was
// done.

#include <CLI/CLI.hpp>
#include <string>

#include "cairn/convert.h"
#include "cairn/error.h"
#include "output.h"

namespace cairn::tools {

// Why no files can be written under this prefix; empty: they can. "new/" would give hidden files.
std::string names_files(const std::string& prefix);

void add_link(CLI::App& app, Link& link);
void add_replace(CLI::App& app, bool& replace);
void add_output(CLI::App& app, std::string& output);

// What a transfer did, as text, and as fields of an object.
void print_text(const Transfer& transfer);
void add_fields(Json& json, const Transfer& transfer);

// Prints what a transfer did, or complains why it failed. Returns the exit code.
int report(const Result<Transfer>& transfer, bool json);

}  // namespace cairn::tools
