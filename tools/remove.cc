#include <fmt/format.h>

#include <string>

#include "cairn/copy.h"
#include "interruption.h"
#include "output.h"
#include "retention.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Remove a checkpoint, whole or damaged. Takes it out of the catalog, then removes its\n"
    "files, indexes first, so that no catalog lists a removed checkpoint. Refuses a pinned\n"
    "checkpoint. Without --force, also refuses the latest one of the catalog, and one that\n"
    "another catalog of its directory lists.";

constexpr const char* kFooter =
    "Exit status: 0 the checkpoint was removed durably, 2 it could not be done (no such\n"
    "checkpoint, refused, another process writes there).\n\n"
    "JSON: {\"prefix\",\"files\":[...],\"catalogs\":[...]}: the names of its files, and of the\n"
    "catalogs that listed it.\n\n"
    "Examples:\n"
    "  cairn rm saved/train2-7 --dry-run\n"
    "  cairn rm saved/train2-7";

void print_json(const Removed& removed) {
  Json json;
  json.begin_object().text("prefix", removed.prefix.native()).begin_array("files");
  for (const std::string& file : removed.files) json.element(file);
  json.end_array().begin_array("catalogs");
  for (const std::string& name : removed.catalogs) json.element(name);
  json.end_array().end_object().finish();
}

void print_text(const Removed& removed, bool dry_run) {
  print(fmt::format("{}: {} {} file{}\n", safe(removed.prefix.native()),
                    dry_run ? "would remove" : "removed", removed.files.size(),
                    removed.files.size() == 1 ? "" : "s"));
  for (const std::string& file : removed.files) print("  " + safe(file) + "\n");
}

}  // namespace

int remove_verb(Arguments arguments) {
  std::string prefix;
  RemoveOptions options;
  bool json = false;
  CommandLine line("cairn rm", kDescription, kFooter);
  line.add("PREFIX", prefix, "The checkpoint: its prefix, or its one file").required();
  line.add_flag("--force", options.force, "Also remove the latest, and what another catalog lists");
  line.add_flag("--dry-run", options.dry_run, "List what would be removed, and change nothing");
  add_catalog(line, options.latest_filename);
  add_lock_wait(line, options.lock_wait);
  add_json(line, json);
  if (const auto exit = line.parse(arguments)) return *exit;

  options.stop = stopped_by_signals();
  const auto removed = remove_checkpoint(prefix, options);
  if (!removed) {
    complain(removed.error());
    return kFailed;
  }
  print_warnings(removed->warnings);
  json ? print_json(*removed) : print_text(*removed, options.dry_run);
  return kYes;
}

}  // namespace cairn::tools
