#pragma once

// New names for tensors, as rename and convert take and report them.

#include <span>
#include <string>

#include "cairn/renaming.h"
#include "command_line.h"
#include "output.h"

namespace cairn::tools {

// --strip-prefix, and under the name `patterns` an option for the patterns.
void add_prefix_and_patterns(CommandLine& line, Renaming& renaming, const char* patterns);

// Why a word is no pair; empty: it is one.
std::string has_equals(const std::string& word);

// What stands before and behind the '=' at `at`.
NameChange split(const std::string& word, std::size_t at);

void add_renamed(Json& json, std::span<const NameChange> changes);
void print_changes(std::span<const NameChange> changes);

}  // namespace cairn::tools
