#include "verb.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "output.h"

namespace cairn::tools {

std::optional<int> parse(CLI::App& app, Arguments arguments) {
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.get_formatter()->column_width(28);
  // CLI11 takes the arguments last first.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(std::move(reversed));
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    return kYes;
  } catch (const CLI::ParseError& error) {
    complain(app.get_name().substr(std::string("cairn ").size()) + ": " + error.what() + " (see " +
             app.get_name() + " --help)");
    return kFailed;
  }
}

void add_path(CLI::App& app, std::string& path) {
  app.add_option("PATH", path, "The checkpoint: whatever 'cairn --help' says PATH is")
      ->type_name("")
      ->required();
}

void add_directory(CLI::App& app, std::string& dir) {
  app.add_option("DIR", dir, "A directory of checkpoints")
      ->type_name("")
      ->required()
      ->check([](const std::string& path) {
        std::error_code ignored;
        return std::filesystem::is_directory(path, ignored) ? "" : path + " is no directory";
      });
}

void add_json(CLI::App& app, bool& json) {
  app.add_flag("--json", json, "Print one JSON object on stdout instead of text");
}

void add_threads(CLI::App& app, unsigned& threads) {
  app.add_option("--threads", threads,
                 "Threads to use (what the affinity mask and CPU quota allow)")
      ->type_name("N")
      ->check(CLI::Range(1u, 1024u).description(""));
}

std::optional<Checkpoint> open_or_complain(const std::string& path) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) {
    complain(checkpoint.error());
    return std::nullopt;
  }
  print_notices(checkpoint->notices());
  return *std::move(checkpoint);
}

}  // namespace cairn::tools
