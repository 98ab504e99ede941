#include "verb.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "output.h"

namespace cairn::tools {

void add_path(CommandLine& line, std::string& path) {
  line.add("PATH", path, "The checkpoint: a PATH as in 'cairn --help'").required();
}

void add_directory(CommandLine& line, std::string& dir) {
  line.add("DIR", dir, "A directory of checkpoints").required().check([](const std::string& path) {
    std::error_code ignored;
    return std::filesystem::is_directory(path, ignored) ? "" : path + " is not a directory";
  });
}

void add_catalog(CommandLine& line, std::string& name) {
  line.add("--catalog", name, "NAME", "The catalog's file name in DIR ('checkpoint')");
}

void add_json(CommandLine& line, bool& json) {
  line.add_flag("--json", json, "Print one JSON object on stdout instead of text");
}

void add_threads(CommandLine& line, unsigned& threads) {
  line.add("--threads", threads, "N",
           "Number of threads (as many as affinity mask and CPU quota allow)")
      .between(1u, 1024u);
}

void add_follow_links(CommandLine& line, bool& follow_links) {
  line.add_flag("--follow-links", follow_links,
                "Follow symbolic links and catalog entries that lead out of the directory");
}

std::optional<Checkpoint> open_or_complain(const std::string& path, bool follow_links) {
  OpenOptions options;
  options.follow_links = follow_links;
  auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint) {
    complain(checkpoint.error());
    return std::nullopt;
  }
  print_warnings(checkpoint->warnings());
  return *std::move(checkpoint);
}

}  // namespace cairn::tools
