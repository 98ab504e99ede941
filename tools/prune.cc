#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "cairn/saver.h"
#include "output.h"
#include "retention.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Remove old checkpoints, as 'cairn save' does: of the checkpoints that the catalog lists,\n"
    "remove those that no rule keeps. The latest and the pinned checkpoints are always kept.";

constexpr const char* kFooter =
    "Exit status: 0 done, 2 it could not be done (for example, another process writes to\n"
    "DIR).\n\n"
    "JSON: {\"checkpoints\":[{\"prefix\",\"kept\",\"why\"}]}, oldest first.\n\n"
    "Examples:\n"
    "  cairn prune saved --max-to-keep 3 --dry-run\n"
    "  cairn prune saved --max-to-keep 1 --best loss:2 --every-steps 10000";

void print_json(const std::vector<RetentionDecision>& decisions) {
  Json json;
  json.begin_object().begin_array("checkpoints");
  for (const RetentionDecision& decision : decisions) {
    json.begin_object().text("prefix", decision.prefix.native());
    json.flag("kept", decision.kept).text("why", decision.why).end_object();
  }
  json.end_array().end_object().finish();
}

void print_text(const std::vector<RetentionDecision>& decisions, bool dry_run) {
  const std::string_view gone = dry_run ? "goes" : "went";
  std::size_t width = 0;
  for (const RetentionDecision& decision : decisions)
    width = std::max(width, safe(decision.prefix.native()).size());
  for (const RetentionDecision& decision : decisions) {
    print(fmt::format("{}  {:<{}}  {}\n", decision.kept ? "kept" : gone,
                      safe(decision.prefix.native()), width, safe(decision.why)));
  }
}

Result<std::vector<RetentionDecision>> judge(const std::string& dir,
                                             const RetentionOptions& retention,
                                             SaverOptions options, bool dry_run) {
  auto rules = rules_of(retention);
  if (!rules) return std::move(rules).error();
  options.keep_any_of = *std::move(rules);
  auto saver = Saver::open(dir, options);
  if (!saver) return std::move(saver).error();
  auto decisions = saver->prune(dry_run);
  print_warnings(saver->warnings());
  return decisions;
}

}  // namespace

int prune(Arguments arguments) {
  std::string dir;
  RetentionOptions retention;
  SaverOptions options;
  bool dry_run = false;
  bool json = false;
  CommandLine line("cairn prune", kDescription, kFooter);
  add_directory(line, dir);
  add_retention(line, retention);
  line.add_flag("--dry-run", dry_run, "List what would be removed, and change nothing");
  add_catalog(line, options.latest_filename);
  add_follow_links(line, options.follow_links);
  add_lock_wait(line, options.lock_wait);
  add_json(line, json);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto decisions = judge(dir, retention, options, dry_run);
  if (!decisions) {
    complain(decisions.error());
    return kFailed;
  }
  json ? print_json(*decisions) : print_text(*decisions, dry_run);
  return kYes;
}

}  // namespace cairn::tools
