#include "renaming.h"

#include <fmt/format.h>

namespace cairn::tools {

NameChange split(const std::string& word, std::size_t at) {
  return {word.substr(0, at), word.substr(at + 1)};
}

std::string has_equals(const std::string& word) {
  return word.find('=') == std::string::npos ? "'" + word + "' has no '='" : std::string();
}

void add_prefix_and_patterns(CommandLine& line, Renaming& renaming, const char* patterns) {
  line.add("--strip-prefix", renaming.strip_prefix, "PREFIX",
           "Remove PREFIX from the names that begin with it, before any pattern");
  const auto take = [&renaming](const std::string& word) {
    renaming.patterns.push_back(split(word, word.rfind('=')));
  };
  line.add_each(patterns, take, "PATTERN=REPLACEMENT",
                "Replace each match of a regular expression in a name; may be repeated")
      .check(has_equals);
}

void add_renamed(Json& json, std::span<const NameChange> changes) {
  json.begin_array("renamed");
  for (const NameChange& change : changes)
    json.begin_object().text("from", change.from).text("to", change.to).end_object();
  json.end_array();
}

void print_changes(std::span<const NameChange> changes) {
  for (const NameChange& change : changes)
    print(fmt::format("{} → {}\n", safe(change.from), safe(change.to)));
}

}  // namespace cairn::tools
