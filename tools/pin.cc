#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "cairn/saver.h"
#include "output.h"
#include "retention.h"
#include "transfer.h"
#include "verb.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDescription =
    "Pin a checkpoint: 'cairn save' and 'cairn prune' then never remove it, whatever their\n"
    "rules. The pin is stored in PREFIX.cairn; a checkpoint of TensorFlow's gets this file.\n"
    "TensorFlow ignores pins.";

constexpr const char* kFooter =
    "Exit status: 0 done, and the prefix was printed; 2 it could not be done (no such\n"
    "checkpoint, another process writes to its directory).\n\n"
    "Examples:\n"
    "  cairn pin saved/train2-7\n"
    "  cairn pin saved/train2-7 --remove";

Result<void> mark(const fs::path& prefix, const SaverOptions& options, bool pinned) {
  const fs::path dir = prefix.has_parent_path() ? prefix.parent_path() : fs::path(".");
  if (!fs::is_directory(dir)) {
    return Error{Code::NotFound, 0, fmt::format("{} is not a directory", dir.native())};
  }
  auto saver = Saver::open(dir, options);
  if (!saver) return std::move(saver).error();
  auto done = saver->pin(prefix, pinned);
  print_warnings(saver->warnings());
  return done;
}

}  // namespace

int pin(Arguments arguments) {
  std::string prefix;
  SaverOptions options;
  bool remove = false;
  CommandLine line("cairn pin", kDescription, kFooter);
  line.add("PREFIX", prefix, "The checkpoint").required().check(names_files);
  line.add_flag("--remove", remove, "Remove the pin");
  add_follow_links(line, options.follow_links);
  add_lock_wait(line, options.lock_wait);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto done = mark(prefix, options, !remove);
  if (!done) {
    complain(done.error());
    return kFailed;
  }
  print(safe(prefix) + "\n");
  return kYes;
}

}  // namespace cairn::tools
