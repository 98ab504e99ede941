#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cairn/catalog.h"
#include "output.h"
#include "retention.h"
#include "verb.h"
#include "words.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDescription =
    "Print the catalog of a directory (its file 'checkpoint'): its checkpoints, oldest first,\n"
    "the latest one, and whether the indexes of each are valid and its shards exist. Then\n"
    "print the shards in DIR that no index names, and what dead processes left in DIR:\n"
    "unfinished changes and files. The next save, prune, pin, mv, rm or --repair in DIR\n"
    "finishes or undoes these changes and removes these files. Reads indexes, not tensors;\n"
    "'cairn verify' reads tensors.\n\n"
    "--repair rewrites the catalog to match the files. It removes entries that are not whole,\n"
    "and adds whole checkpoints that are younger than all entries. If the catalog is missing\n"
    "or damaged, it adds all whole checkpoints. It keeps entries that it cannot check (links,\n"
    "other directories). It does not add copies ('m-2 - Copy'), or what another catalog of\n"
    "DIR lists. It does not add older checkpoints: retention may have preserved them, and\n"
    "would delete them if they were listed. --all adds older checkpoints and copies.";

constexpr const char* kFooter =
    "Exit status: 0 the catalog was printed, 1 there is no catalog (with --repair: no\n"
    "checkpoint is whole), 2 it could not be read or written.\n\n"
    "JSON: {\"latest\",\"latest_whole\",\n"
    "\"checkpoints\":[{\"prefix\",\"whole\",\"opens_as\",\"why\"}],\n"
    "\"unnamed_shards\":[{\"path\",\"bytes\"}],\"unfinished\":[{\"prefix\",\"why\"}],\n"
    "\"left_files\":[{\"path\",\"bytes\"}]}. latest_whole is the newest whole checkpoint; why is\n"
    "null for a whole one. With --repair also \"changed\" and\n"
    "\"left_out\":[{\"prefix\",\"why\"}]. The other fields then show the result (with --dry-run:\n"
    "the result that there would be).\n\n"
    "Examples:\n"
    "  cairn state saved --json | jq -r .latest_whole\n"
    "  cairn state saved --repair --dry-run";

struct Entry {
  std::string prefix;
  std::optional<std::string> opens_as;  // nothing: it is not whole, or nobody knows
  std::optional<std::string> why;
  bool judged = true;
};

struct State {
  std::optional<std::string> latest;
  std::optional<std::string> latest_whole;
  std::vector<Entry> entries;
  std::vector<UnnamedShard> unnamed;
  LeftBehind left;
};

// A directory that cannot be listed still has a catalog to be shown.
std::vector<UnnamedShard> look_for_unnamed(const std::string& dir) {
  auto shards = unnamed_shards(dir);
  if (shards) return *std::move(shards);
  complain("could not look for shards that no index names: " + shards.error().what);
  return {};
}

// The same. Where all is known, its warnings have been said.
LeftBehind look_for_left(const std::string& dir) {
  auto left = left_behind(dir);
  if (left) {
    print_warnings(left->warnings);
    return *std::move(left);
  }
  complain("could not look for files of dead processes: " + in_command_words(left.error().what));
  return {};
}

// Of a shard that goes it is known whose it was.
void look_around(const std::string& dir, State& state) {
  state.unnamed = look_for_unnamed(dir);
  state.left = look_for_left(dir);
  std::erase_if(state.unnamed, [&](const UnnamedShard& shard) {
    return std::ranges::find(state.left.files, shard.path, &LeftFile::path) !=
           state.left.files.end();
  });
}

Result<State> read_state(const std::string& dir, const std::string& name, bool follow_links) {
  const auto catalog = get_checkpoint_state(dir, name);
  if (!catalog) return catalog.error();
  if (!catalog->has_value()) return State{};
  const auto listed = listed_checkpoints(dir, name, follow_links);
  if (!listed) return listed.error();
  State state;
  const fs::path& latest = (*catalog)->model_checkpoint_path;
  state.latest = latest.native();
  for (const ListedCheckpoint& each : *listed) {
    Entry entry{each.prefix.native(), std::nullopt, std::nullopt};
    if (each.opens_as) entry.opens_as = each.opens_as->native();
    if (!each.opens_as) entry.why = each.why;
    if (each.opens_as) state.latest_whole = entry.opens_as;
    state.entries.push_back(std::move(entry));
  }
  // The newest is the latest, wherever it stands in the list.
  const auto newest = std::ranges::find(state.entries, latest.native(), &Entry::prefix);
  if (newest != state.entries.end() && newest->opens_as) state.latest_whole = newest->opens_as;
  return state;
}

// What a repaired catalog lists is whole, or could not be judged.
State state_of(const Repaired& repaired) {
  State state;
  for (const auto& prefix : repaired.state.all_model_checkpoint_paths) {
    Entry entry{prefix.native(), prefix.native(), std::nullopt};
    const auto kept = std::ranges::find(repaired.kept, prefix, &SkippedCheckpoint::prefix);
    if (kept != repaired.kept.end())
      entry = {prefix.native(), std::nullopt, in_command_words(kept->why), false};
    if (entry.judged) state.latest_whole = entry.prefix;
    state.entries.push_back(std::move(entry));
  }
  if (!state.entries.empty()) state.latest = repaired.state.model_checkpoint_path.native();
  return state;
}

void print_json(Json& json, const LeftBehind& left) {
  json.begin_array("unfinished");
  for (const SkippedCheckpoint& each : left.unfinished) {
    json.begin_object().text("prefix", each.prefix.native());
    json.text("why", in_command_words(each.why)).end_object();
  }
  json.end_array().begin_array("left_files");
  for (const LeftFile& file : left.files) {
    json.begin_object().text("path", file.path.native());
    json.number("bytes", file.size_bytes).end_object();
  }
  json.end_array();
}

void print_json(const State& state, const Repaired* repaired) {
  Json json;
  json.begin_object().text_or_null("latest", state.latest);
  json.text_or_null("latest_whole", state.latest_whole);
  json.begin_array("checkpoints");
  for (const Entry& entry : state.entries) {
    json.begin_object().text("prefix", entry.prefix).flag("whole", !entry.why);
    json.text_or_null("opens_as", entry.opens_as).text_or_null("why", entry.why).end_object();
  }
  json.end_array().begin_array("unnamed_shards");
  for (const UnnamedShard& shard : state.unnamed) {
    json.begin_object().text("path", shard.path.native());
    json.number("bytes", shard.size_bytes).end_object();
  }
  json.end_array();
  print_json(json, state.left);
  if (repaired != nullptr) {
    json.flag("changed", repaired->changed).begin_array("left_out");
    for (const SkippedCheckpoint& each : repaired->left_out) {
      json.begin_object().text("prefix", each.prefix.native());
      json.text("why", in_command_words(each.why)).end_object();
    }
    json.end_array();
  }
  json.end_object().finish();
}

void print_text(const State& state) {
  if (!state.latest) return;
  print(fmt::format("latest:       {}\n", safe(*state.latest)));
  print(fmt::format("latest whole: {}\n", safe(state.latest_whole.value_or("none"))));
  std::size_t width = 0;
  for (const Entry& entry : state.entries) width = std::max(width, safe(entry.prefix).size());
  for (const Entry& entry : state.entries) {
    const std::string verdict = entry.opens_as == entry.prefix ? "whole"
                                : entry.opens_as
                                    ? "missing; whole beside the catalog: " + *entry.opens_as
                                : entry.judged ? "not whole: " + *entry.why
                                               : "kept, not checked: " + *entry.why;
    print(fmt::format("  {:<{}}  {}\n", safe(entry.prefix), width, safe(verdict)));
  }
}

void print_unnamed(const State& state) {
  if (state.unnamed.empty()) return;
  for (const UnnamedShard& shard : state.unnamed) {
    print(fmt::format("no index names: {}  {} bytes\n", safe(shard.path.native()),
                      grouped(shard.size_bytes)));
  }
  print(
      "these shards belong to a copy or a save that is running, or that died: if none is running, "
      "delete them with 'rm', or restore their PREFIX.index or PREFIX.cairn\n");
}

void print_left(const LeftBehind& left) {
  if (left.unfinished.empty() && left.files.empty()) return;
  for (const SkippedCheckpoint& each : left.unfinished)
    print(fmt::format("unfinished: {}\n", safe(in_command_words(each.why))));
  for (const LeftFile& file : left.files) {
    print(fmt::format("left by a dead process: {}  {} bytes\n", safe(file.path.native()),
                      grouped(file.size_bytes)));
  }
  print(
      "the next save, prune, pin, mv, rm or 'cairn state --repair' in this directory cleans this "
      "up\n");
}

void print_around(const State& state) {
  print_unnamed(state);
  print_left(state.left);
}

void print_repair(const Repaired& repaired, bool dry_run) {
  for (const SkippedCheckpoint& each : repaired.left_out)
    print(fmt::format("left out: {}\n", safe(in_command_words(each.why))));
  print(!repaired.changed ? "the catalog did not change\n"
        : dry_run         ? "the catalog would be rewritten\n"
                          : "the catalog was rewritten\n");
}

int repair(const std::string& dir, const std::string& catalog, const RepairOptions& options,
           bool json) {
  const auto repaired = repair_catalog(dir, catalog, options);
  if (!repaired) {
    complain(repaired.error());
    return kFailed;
  }
  print_warnings(repaired->warnings);
  State state = state_of(*repaired);
  look_around(dir, state);
  if (json) {
    print_json(state, &*repaired);
  } else {
    print_text(state);
    print_around(state);
    print_repair(*repaired, options.dry_run);
  }
  if (state.latest) return kYes;
  complain(fmt::format("no checkpoint in {} is whole", dir));
  return kNo;
}

}  // namespace

int state(Arguments arguments) {
  std::string dir;
  std::string catalog = "checkpoint";
  bool json = false;
  bool repairs = false;
  bool follow_links = false;
  RepairOptions options;
  CommandLine line("cairn state", kDescription, kFooter);
  add_directory(line, dir);
  add_catalog(line, catalog);
  const Argument repair_option =
      line.add_flag("--repair", repairs, "Rewrite the catalog to match the files");
  line.add_flag("--all", options.all, "With --repair: list every whole checkpoint")
      .needs(repair_option);
  line.add_flag("--dry-run", options.dry_run, "With --repair: print the result, and change nothing")
      .needs(repair_option);
  add_lock_wait(line, options.lock_wait).needs(repair_option);
  add_json(line, json);
  add_follow_links(line, follow_links);
  if (const auto exit = line.parse(arguments)) return *exit;

  if (repairs) return repair(dir, catalog, options, json);
  auto state = read_state(dir, catalog, follow_links);
  if (!state) {
    complain(state.error());
    return kFailed;
  }
  look_around(dir, *state);
  if (json) print_json(*state, nullptr);
  if (!json && !state->latest) print_around(*state);
  if (!state->latest) {
    complain(fmt::format("{} has no catalog (no file '{}')", dir, catalog));
    return kNo;
  }
  if (!json) print_text(*state);
  if (!json) print_around(*state);
  return kYes;
}

}  // namespace cairn::tools
